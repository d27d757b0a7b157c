#include <optional>

#include <xxhash.h>

#include <mempool/ref.h>

namespace mempool {
namespace {

constexpr std::byte kVersion{1};
constexpr std::string_view kDRefPrefix = "dref1";
constexpr std::string_view kFileRefPrefix = "file1:";

std::uint32_t checksum(std::span<const std::byte> bytes) {
  return static_cast<std::uint32_t>(XXH3_64bits(bytes.data(), bytes.size()));
}

class Writer {
 public:
  explicit Writer(std::byte* out) : out_(out) {}
  template <class T>
  void put(T value) {
    for (std::size_t i = 0; i < sizeof(T); ++i)
      *out_++ = static_cast<std::byte>(value >> (8 * i) & 0xFF);
  }

 private:
  std::byte* out_;
};

class Reader {
 public:
  explicit Reader(const std::byte* in) : in_(in) {}
  template <class T>
  T take() {
    T value = 0;
    for (std::size_t i = 0; i < sizeof(T); ++i)
      value = static_cast<T>(value | (static_cast<T>(*in_++) << (8 * i)));
    return value;
  }

 private:
  const std::byte* in_;
};

void append_hex(std::string& text, std::span<const std::byte> bytes) {
  constexpr char digits[] = "0123456789abcdef";
  for (std::byte b : bytes) {
    text += digits[std::to_integer<unsigned>(b) >> 4];
    text += digits[std::to_integer<unsigned>(b) & 15];
  }
}

std::optional<unsigned> hex_digit(char c) {
  if (c >= '0' && c <= '9') return static_cast<unsigned>(c - '0');
  if (c >= 'a' && c <= 'f') return static_cast<unsigned>(c - 'a' + 10);
  return std::nullopt;
}

bool parse_hex(std::string_view text, std::span<std::byte> out) {
  if (text.size() != out.size() * 2) return false;
  for (std::size_t i = 0; i < out.size(); ++i) {
    auto high = hex_digit(text[2 * i]);
    auto low = hex_digit(text[2 * i + 1]);
    if (!high || !low) return false;
    out[i] = static_cast<std::byte>(*high << 4 | *low);
  }
  return true;
}

// FileRef's fixed part in its text form: identity, offset, length, checksum of these and the path.
constexpr std::size_t kFileFieldBytes = 6 * 8;

std::array<std::byte, kFileFieldBytes> encode_fields(const FileRef& ref) {
  std::array<std::byte, kFileFieldBytes> out;
  Writer w(out.data());
  for (std::uint64_t field :
       {ref.id.cluster, ref.id.node, ref.id.incarnation, ref.id.object, ref.offset, ref.length})
    w.put(field);
  return out;
}

std::uint32_t file_checksum(std::span<const std::byte> fields, std::string_view path) {
  const auto seed = XXH3_64bits(fields.data(), fields.size());
  return static_cast<std::uint32_t>(XXH3_64bits_withSeed(path.data(), path.size(), seed));
}

}  // namespace

std::array<std::byte, DRef::kEncodedBytes> DRef::encode() const {
  std::array<std::byte, kEncodedBytes> out;
  out[0] = kVersion;
  Writer w(out.data() + 1);
  for (std::uint64_t field :
       {id.cluster, id.node, id.incarnation, id.object, length, hint.offset, hint.generation})
    w.put(field);
  w.put(hint.region);
  w.put(checksum(std::span(out).first(kEncodedBytes - 4)));
  return out;
}

Result<DRef> DRef::decode(std::span<const std::byte> bytes) {
  if (bytes.size() != kEncodedBytes)
    return fail(Code::kInvalidArgument, "a DRef is " + std::to_string(kEncodedBytes) +
                                            " bytes, this is " + std::to_string(bytes.size()));
  if (bytes[0] != kVersion)
    return fail(Code::kVersionMismatch, "the DRef has format version " +
                                            std::to_string(std::to_integer<int>(bytes[0])) +
                                            ", this program reads version 1");
  Reader r(bytes.data() + 1);
  DRef ref;
  for (std::uint64_t* field : {&ref.id.cluster, &ref.id.node, &ref.id.incarnation, &ref.id.object,
                               &ref.length, &ref.hint.offset, &ref.hint.generation})
    *field = r.take<std::uint64_t>();
  ref.hint.region = r.take<std::uint32_t>();
  if (r.take<std::uint32_t>() != checksum(bytes.first(kEncodedBytes - 4)))
    return fail(Code::kInvalidArgument, "the DRef is damaged: its checksum does not match");
  return ref;
}

std::string DRef::to_string() const {
  std::string text(kDRefPrefix);
  append_hex(text, encode());
  return text;
}

Result<DRef> DRef::parse(std::string_view text) {
  if (!text.starts_with(kDRefPrefix))
    return fail(Code::kInvalidArgument, "a DRef starts with \"dref1\"");
  std::array<std::byte, kEncodedBytes> bytes;
  const auto digits = text.substr(kDRefPrefix.size());
  if (digits.size() != 2 * kEncodedBytes)
    return fail(Code::kInvalidArgument, "the DRef is truncated or too long: expected " +
                                            std::to_string(kDRefPrefix.size() + 2 * kEncodedBytes) +
                                            " characters, got " + std::to_string(text.size()));
  if (!parse_hex(digits, bytes))
    return fail(Code::kInvalidArgument, "the DRef has a character that is no lower-case hex digit");
  auto ref = decode(bytes);
  if (!ref) return fail(ref.error().code, ref.error().message + "; was it mistyped?");
  return ref;
}

std::string FileRef::to_string() const {
  std::string text(kFileRefPrefix);
  const auto fields = encode_fields(*this);
  append_hex(text, fields);
  std::array<std::byte, 4> check;
  Writer(check.data()).put(file_checksum(fields, path));
  append_hex(text, check);
  return text + ":" + path;
}

Result<FileRef> FileRef::parse(std::string_view text) {
  constexpr std::size_t digits = 2 * (kFileFieldBytes + 4);
  if (!text.starts_with(kFileRefPrefix))
    return fail(Code::kInvalidArgument, "a FileRef starts with \"file1:\"");
  text.remove_prefix(kFileRefPrefix.size());
  if (text.size() < digits + 2 || text[digits] != ':')
    return fail(Code::kInvalidArgument, "the FileRef is truncated");
  std::array<std::byte, kFileFieldBytes + 4> bytes;
  if (!parse_hex(text.substr(0, digits), bytes))
    return fail(Code::kInvalidArgument,
                "the FileRef has a character that is no lower-case hex digit");
  FileRef ref;
  ref.path = std::string(text.substr(digits + 1));
  Reader r(bytes.data());
  for (std::uint64_t* field : {&ref.id.cluster, &ref.id.node, &ref.id.incarnation, &ref.id.object,
                               &ref.offset, &ref.length})
    *field = r.take<std::uint64_t>();
  const auto fields = std::span<const std::byte>(bytes).first(kFileFieldBytes);
  if (r.take<std::uint32_t>() != file_checksum(fields, ref.path))
    return fail(Code::kInvalidArgument,
                "the FileRef is damaged: its checksum does not match; was it mistyped?");
  return ref;
}

}  // namespace mempool
