#include "spill/header.h"

#include <cstring>
#include <limits>
#include <string>

#include "spill/checksum.h"
#include "spill/error.h"
#include "spill_generated.h"

namespace mempool::spill {
namespace {

using format::BlobFile;

// The vector's length is the last word of the page, the payload starts right behind it.
constexpr std::size_t kVectorAt = kHeaderBytes - sizeof(flatbuffers::uoffset_t);

std::uint8_t* bytes_of(HeaderPage& page) {
  return reinterpret_cast<std::uint8_t*>(page.data());
}

flatbuffers::uoffset_t vector_length(std::uint64_t payload) {
  const bool whole = kHeaderBytes + payload <= kLargestFlatBuffer;
  return whole ? static_cast<flatbuffers::uoffset_t>(payload) : 0;
}

// In files of the first version one FlatBuffer ended a byte earlier.
bool vector_agrees(flatbuffers::uoffset_t in_vector, std::uint64_t payload) {
  return in_vector == vector_length(payload) ||
         (in_vector == 0 && kHeaderBytes + payload == kLargestFlatBuffer);
}

// Where the checksum lies in a page that the verifier accepted; null if the field is missing.
std::uint8_t* checksum_field(HeaderPage& page) {
  auto* root = flatbuffers::GetMutableRoot<flatbuffers::Table>(bytes_of(page));
  return root->GetAddressOf(BlobFile::VT_HEADER_CHECKSUM);
}

std::uint64_t checksum_without(HeaderPage& page, std::uint8_t* field) {
  std::memset(field, 0, sizeof(std::uint64_t));
  return checksum(page);
}

// The verifier sees the page alone, with the vector empty: nothing but the payload lies outside the
// page, so that a valid page, the vector's place and the file's size make a valid file, and no
// damaged offset can lead into the payload.
bool structure_is_valid(HeaderPage& page) {
  flatbuffers::WriteScalar(bytes_of(page) + kVectorAt, flatbuffers::uoffset_t{0});
  flatbuffers::Verifier verifier(bytes_of(page), page.size());
  if (!format::VerifyBlobFileBuffer(verifier)) return false;
  const auto* vector = format::GetBlobFile(page.data())->payload();
  return reinterpret_cast<const std::uint8_t*>(vector) == bytes_of(page) + kVectorAt;
}

BlobMeta meta_of(const BlobFile& blob) {
  return BlobMeta{.id = {.cluster = blob.cluster(),
                         .node = blob.node(),
                         .incarnation = blob.incarnation(),
                         .object = blob.object()},
                  .length = blob.length(),
                  .type_name = blob.type_name()->str()};
}

}  // namespace

Status check_meta(const BlobMeta& meta, const std::filesystem::path& path) {
  if (meta.type_name.size() > kMaxTypeName) {
    return path_failure(Code::kInvalidArgument, path,
                        "a type name of " + std::to_string(meta.type_name.size()) +
                            " bytes is longer than a blob file keeps (" +
                            std::to_string(kMaxTypeName) + ")");
  }
  // The header's bytes are on top, and file offsets are signed.
  constexpr auto kLargest = std::uint64_t{std::numeric_limits<std::int64_t>::max()} - kHeaderBytes;
  if (meta.length > kLargest) {
    return path_failure(Code::kNoSpace, path,
                        "no file holds " + std::to_string(meta.length) + " payload bytes");
  }
  return {};
}

Result<EncodedHeader> encode_header(const BlobMeta& meta, std::uint64_t payload_checksum) {
  if (auto valid = check_meta(meta, {}); !valid) return forward_error(std::move(valid));
  flatbuffers::FlatBufferBuilder builder(2 * kHeaderBytes);
  builder.ForceDefaults(true);
  // A FlatBuffer is built from its end: aligned to the page first, then the vector, which so ends
  // the page.
  builder.Align(kHeaderBytes);
  const std::uint8_t* const nothing = nullptr;
  const auto payload = builder.CreateVector(nothing, std::size_t{0});
  const auto type_name = builder.CreateString(meta.type_name);
  const auto& id = meta.id;
  format::FinishBlobFileBuffer(
      builder, format::CreateBlobFile(builder, kFormatVersion, 0, payload_checksum, meta.length,
                                      kHeaderBytes, id.cluster, id.node, id.incarnation, id.object,
                                      type_name, payload));
  if (builder.GetSize() != kHeaderBytes) {
    return fail(Code::kIo, "a blob file's header has " + std::to_string(builder.GetSize()) +
                               " bytes with this version of FlatBuffers");
  }
  EncodedHeader encoded;
  std::memcpy(encoded.page.data(), builder.GetBufferPointer(), kHeaderBytes);
  auto* const page = bytes_of(encoded.page);
  flatbuffers::WriteScalar(page + kVectorAt, vector_length(meta.length));
  auto* const field = checksum_field(encoded.page);
  encoded.header_checksum = checksum_without(encoded.page, field);
  flatbuffers::WriteScalar(field, encoded.header_checksum);
  return encoded;
}

Result<Header> decode_header(const HeaderPage& page, std::uint64_t file_bytes,
                             const std::filesystem::path& path) {
  const auto corrupt = [&](const char* reason) {
    return path_failure(Code::kCorrupt, path, reason);
  };
  alignas(std::uint64_t) HeaderPage copy = page;
  if (!format::BlobFileBufferHasIdentifier(copy.data())) return corrupt("not a blob file");
  const auto in_vector =
      flatbuffers::ReadScalar<flatbuffers::uoffset_t>(bytes_of(copy) + kVectorAt);
  if (!structure_is_valid(copy)) return corrupt("the blob file's header is damaged");
  const auto* blob = format::GetBlobFile(copy.data());
  Header header{.meta = meta_of(*blob),
                .payload_checksum = blob->payload_checksum(),
                .header_checksum = blob->header_checksum()};
  const auto version = blob->format_version();
  const auto start = blob->payload_start();

  auto* const field = checksum_field(copy);
  if (field == nullptr) return corrupt("the blob file's header has no checksum");
  flatbuffers::WriteScalar(bytes_of(copy) + kVectorAt, in_vector);
  if (checksum_without(copy, field) != header.header_checksum) {
    return corrupt("the checksum of the blob file's header does not match");
  }
  // The checksum comes first: a damaged version number is damage, not another version.
  if (version != kFormatVersion) {
    return path_failure(Code::kVersionMismatch, path,
                        "the blob file has format version " + std::to_string(version) +
                            ", this program reads version " + std::to_string(kFormatVersion));
  }
  const auto length = header.meta.length;
  if (start != kHeaderBytes || file_bytes < kHeaderBytes || file_bytes - kHeaderBytes != length) {
    return path_failure(Code::kCorrupt, path,
                        "the file has " + std::to_string(file_bytes) + " bytes, its header says " +
                            std::to_string(length) + " payload bytes from byte " +
                            std::to_string(start));
  }
  if (!vector_agrees(in_vector, length)) return corrupt("the header contradicts itself");
  return header;
}

}  // namespace mempool::spill
