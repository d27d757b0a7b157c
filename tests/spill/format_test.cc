// The format: what it holds, what stock FlatBuffers makes of it, and that a header cannot lie.
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <limits>
#include <optional>

#include <nlohmann/json.hpp>
#include <sys/mman.h>
#include <xxhash.h>

#include "sparse.h"
#include "spill/header.h"
#include "spill_generated.h"
#include "support.h"

namespace mempool::spill {
namespace {

using namespace test;

constexpr std::uint64_t kAnySum = 0x1122334455667788;

// What the slowest of FlatBuffers' languages take: a file of 2^31 - 1 bytes.
constexpr std::uint64_t kLargestInVector = (std::uint64_t{1} << 31) - 1 - kHeaderBytes;

std::uint64_t word_at(const HeaderPage& page, std::size_t at) {
  std::uint64_t value = 0;
  std::memcpy(&value, page.data() + at, sizeof value);
  return value;
}

// Where `value` lies in the page, aligned; it must be there once.
std::size_t find_word(const HeaderPage& page, std::uint64_t value) {
  std::vector<std::size_t> found;
  for (std::size_t at = 0; at + 8 <= page.size(); at += 4) {
    if (word_at(page, at) == value) found.push_back(at);
  }
  EXPECT_EQ(found.size(), 1U);
  return found.empty() ? 0 : found.front();
}

// Gives a changed page a checksum that matches, as somebody would who means harm.
void seal(HeaderPage& page, std::size_t checksum_at) {
  std::memset(page.data() + checksum_at, 0, 8);
  const std::uint64_t sum = XXH3_64bits(page.data(), page.size());
  std::memcpy(page.data() + checksum_at, &sum, 8);
}

TEST(SpillFormat, HeaderKeepsEverything) {
  BlobMeta meta = meta_of(12345);
  meta.id = {.cluster = ~0ULL, .node = 2, .incarnation = 1ULL << 63, .object = 0};
  const auto encoded = encode_header(meta, kAnySum);
  ASSERT_TRUE(encoded) << message(encoded);
  const auto header = decode_header(encoded->page, kHeaderBytes + 12345, "x");
  ASSERT_TRUE(header) << message(header);
  EXPECT_EQ(header->meta.id, meta.id);
  EXPECT_EQ(header->meta.length, 12345U);
  EXPECT_EQ(header->meta.type_name, meta.type_name);
  EXPECT_EQ(header->payload_checksum, kAnySum);
  EXPECT_EQ(header->header_checksum, encoded->header_checksum);
}

TEST(SpillFormat, AnyTypeNameUpToTheLimit) {
  for (std::size_t size = 0; size <= kMaxTypeName; ++size) {
    BlobMeta meta = meta_of(1);
    meta.type_name = std::string(size, '\0');
    const auto encoded = encode_header(meta, kAnySum);
    ASSERT_TRUE(encoded) << size << ": " << message(encoded);
    const auto header = decode_header(encoded->page, kHeaderBytes + 1, "x");
    ASSERT_TRUE(header) << size << ": " << message(header);
    ASSERT_EQ(header->meta.type_name, meta.type_name);
  }
  BlobMeta meta = meta_of(1);
  meta.type_name = std::string(kMaxTypeName + 1, 'x');
  EXPECT_EQ(code(encode_header(meta, kAnySum)), Code::kInvalidArgument);
}

TEST(SpillFormat, LengthsOnBothSidesOfTwoGigabytes) {
  for (const std::uint64_t length :
       {std::uint64_t{0}, std::uint64_t{1}, kLargestInVector - 1, kLargestInVector,
        kLargestInVector + 1, std::uint64_t{1} << 31, std::uint64_t{1} << 32,
        (std::uint64_t{1} << 32) + 7, std::uint64_t{1} << 62}) {
    const auto encoded = encode_header(meta_of(length), kAnySum);
    ASSERT_TRUE(encoded) << message(encoded);
    const auto header = decode_header(encoded->page, kHeaderBytes + length, "x");
    ASSERT_TRUE(header) << length << ": " << message(header);
    EXPECT_EQ(header->meta.length, length);
    const auto in_vector = word_at(encoded->page, kHeaderBytes - 8) >> 32;
    EXPECT_EQ(in_vector, length <= kLargestInVector ? length : 0);
    for (const std::uint64_t bytes : {kHeaderBytes + length - 1, kHeaderBytes + length + 1}) {
      EXPECT_EQ(code(decode_header(encoded->page, bytes, "x")), Code::kCorrupt);
    }
  }
  const auto most = std::numeric_limits<std::uint64_t>::max();
  EXPECT_EQ(code(encode_header(meta_of(most), kAnySum)), Code::kNoSpace);
  EXPECT_EQ(code(encode_header(meta_of(most - kHeaderBytes), kAnySum)), Code::kNoSpace);
}

TEST(SpillFormat, EveryBitOfTheHeaderIsProtected) {
  for (const std::uint64_t length : {std::uint64_t{100}, std::uint64_t{1} << 33}) {
    auto encoded = encode_header(meta_of(length), kAnySum);
    ASSERT_TRUE(encoded);
    for (std::size_t bit = 0; bit < kHeaderBytes * 8; ++bit) {
      auto& byte = encoded->page[bit / 8];
      const auto mask = std::byte{1} << (bit % 8);
      byte ^= mask;
      const auto header = decode_header(encoded->page, kHeaderBytes + length, "x");
      ASSERT_EQ(code(header), Code::kCorrupt) << "bit " << bit;
      byte ^= mask;
    }
    EXPECT_TRUE(decode_header(encoded->page, kHeaderBytes + length, "x"));
  }
}

// Every byte set to several values under a checksum that matches: whatever is accepted describes
// exactly the bytes of the file.
TEST(SpillFormat, SealedForgeriesNeverLeaveTheFile) {
  constexpr std::uint64_t kLength = 100;
  const auto encoded = encode_header(meta_of(kLength), kAnySum);
  ASSERT_TRUE(encoded);
  const auto checksum_at = find_word(encoded->page, encoded->header_checksum);
  int other_versions = 0;
  for (std::size_t at = 0; at < kHeaderBytes; ++at) {
    if (at >= checksum_at && at < checksum_at + 8) continue;
    for (const unsigned mask : {0x01U, 0x02U, 0x04U, 0x10U, 0x7FU, 0x80U, 0xFFU}) {
      alignas(8) HeaderPage page = encoded->page;
      page[at] ^= static_cast<std::byte>(mask);
      seal(page, checksum_at);
      const auto header = decode_header(page, kHeaderBytes + kLength, "x");
      if (header) {
        ASSERT_EQ(header->meta.length, kLength) << at;
      }
      if (header) {
        ASSERT_LE(header->meta.type_name.size(), kHeaderBytes) << at;
      }
      if (!header && header.error().code == Code::kVersionMismatch) ++other_versions;
    }
  }
  EXPECT_GT(other_versions, 0);
}

TEST(SpillFormat, RandomPagesAreCorrupt) {
  for (std::uint32_t seed = 0; seed < 2000; ++seed) {
    alignas(8) HeaderPage page;
    const auto noise = pattern(kHeaderBytes, seed);
    std::ranges::copy(noise, page.begin());
    std::memcpy(page.data() + 4, "MPB1", 4);
    if (seed % 2 == 0) std::memset(page.data() + 1, 0, 3);  // a root inside the page
    ASSERT_EQ(code(decode_header(page, kHeaderBytes, "x")), Code::kCorrupt);
  }
}

TEST(SpillFormat, AnotherVersionIsNamed) {
  const auto encoded = encode_header(meta_of(8), kAnySum);
  ASSERT_TRUE(encoded);
  alignas(8) HeaderPage page = encoded->page;
  auto* root = flatbuffers::GetMutableRoot<flatbuffers::Table>(page.data());
  ASSERT_TRUE(root->SetField<std::uint32_t>(format::BlobFile::VT_FORMAT_VERSION, 7, 0));
  EXPECT_EQ(code(decode_header(page, kHeaderBytes + 8, "x")), Code::kCorrupt);
  seal(page, find_word(page, encoded->header_checksum));
  const auto header = decode_header(page, kHeaderBytes + 8, "x");
  EXPECT_EQ(code(header), Code::kVersionMismatch);
  EXPECT_NE(message(header).find("version 7"), std::string::npos) << message(header);
}

// A page as FlatBuffers 2.0.8 and 23.5 both made it: files of today stay readable.
constexpr std::string_view kFirstBytes = "980f00004d504231";
constexpr std::string_view kLastBytes =
    "00001a00500004001000180020002800300038004000480008000c001a0000000100000048000000"
    "580000008ffce90fd24990038877665544332211050000000000000000100000000000000b000000"
    "00000000160000000000000021000000000000002a000000000000000f000000566563746f727b46"
    "6c6f617436347d0005000000";

void put_hex(std::string_view hex, std::span<std::byte> out) {
  ASSERT_EQ(hex.size(), 2 * out.size());
  for (std::size_t i = 0; i < out.size(); ++i) {
    out[i] = static_cast<std::byte>(std::stoi(std::string(hex.substr(2 * i, 2)), nullptr, 16));
  }
}

TEST(SpillFormat, PagesOfVersion1AreReadable) {
  alignas(8) HeaderPage page{};
  put_hex(kFirstBytes, std::span(page).first(kFirstBytes.size() / 2));
  put_hex(kLastBytes, std::span(page).last(kLastBytes.size() / 2));
  const auto header = decode_header(page, kHeaderBytes + 5, "x");
  ASSERT_TRUE(header) << message(header);
  EXPECT_EQ(header->meta.id, meta_of(5).id);
  EXPECT_EQ(header->meta.length, 5U);
  EXPECT_EQ(header->meta.type_name, "Vector{Float64}");
  EXPECT_EQ(header->payload_checksum, kAnySum);
}

TEST(SpillFormat, PagesOfVersion1AreWrittenToTheByte) {
  HeaderPage page{};
  put_hex(kFirstBytes, std::span(page).first(kFirstBytes.size() / 2));
  put_hex(kLastBytes, std::span(page).last(kLastBytes.size() / 2));
  const auto encoded = encode_header(meta_of(5), kAnySum);
  ASSERT_TRUE(encoded) << message(encoded);
  EXPECT_EQ(encoded->page, page);
}

// A file of 2^31 - 1 bytes was no FlatBuffer at first; one of a byte less, and larger ones, are
// what they were.
TEST(SpillFormat, TheLargestFlatBufferIsReadAsBothVersionsWroteIt) {
  Place place;
  const auto meta = meta_of(kLargestInVector);
  const auto encoded = encode_header(meta, sparse_checksum(meta.length));
  ASSERT_TRUE(encoded) << message(encoded);
  HeaderPage earlier = encoded->page;
  std::memset(earlier.data() + kHeaderBytes - 4, 0, 4);
  seal(earlier, find_word(earlier, encoded->header_checksum));
  ASSERT_NE(earlier, encoded->page);
  for (const auto& page : {encoded->page, earlier}) {
    write_sparse_file(place / "largest.blob", page, kHeaderBytes + meta.length);
    const auto file = File::open(place / "largest.blob");
    ASSERT_TRUE(file) << message(file);
    EXPECT_EQ(file->ref().length, kLargestInVector);
  }
  const auto mapping = File::open(place / "largest.blob")->map();
  ASSERT_TRUE(mapping) << message(mapping);
  EXPECT_EQ(mapping->payload().size(), kLargestInVector);
  EXPECT_EQ(mapping->payload().back(), std::byte{kSparseEnd});
}

TEST(SpillFormat, AFileBelowTwoGigabytesWithAnEmptyVectorIsCorrupt) {
  for (const std::uint64_t length : {std::uint64_t{1}, kLargestInVector - 1}) {
    const auto encoded = encode_header(meta_of(length), kAnySum);
    ASSERT_TRUE(encoded) << message(encoded);
    HeaderPage page = encoded->page;
    std::memset(page.data() + kHeaderBytes - 4, 0, 4);
    seal(page, find_word(page, encoded->header_checksum));
    EXPECT_EQ(code(decode_header(page, kHeaderBytes + length, "x")), Code::kCorrupt);
  }
}

TEST(SpillFormat, TheWholeFileIsOneFlatBuffer) {
  Place place;
  for (const std::size_t size : {0UL, 1UL, 4095UL, 100'001UL}) {
    const auto bytes = pattern(size);
    const auto path = place / (std::to_string(size) + ".blob");
    ASSERT_TRUE(write_blob(path, bytes));
    std::ifstream stream(path, std::ios::binary);
    // Heap memory is aligned as FlatBuffers needs it for scalars.
    std::vector<char> file((std::istreambuf_iterator<char>(stream)), {});
    ASSERT_EQ(file.size(), kHeaderBytes + size);
    flatbuffers::Verifier verifier(reinterpret_cast<const std::uint8_t*>(file.data()), file.size());
    ASSERT_TRUE(format::VerifyBlobFileBuffer(verifier));
    const auto* blob = format::GetBlobFile(file.data());
    ASSERT_EQ(blob->payload()->size(), size);
    EXPECT_EQ(blob->payload()->data() - reinterpret_cast<const std::uint8_t*>(file.data()), 4096);
    EXPECT_TRUE(std::ranges::equal(std::as_bytes(std::span(blob->payload()->data(), size)), bytes));
    EXPECT_EQ(blob->payload_checksum(), XXH3_64bits(bytes.data(), size));
  }
}

TEST(SpillFormat, StockFlatcReadsIt) {
  if (!fs::exists(SPILL_FLATC)) GTEST_SKIP() << "SKIPPED: no flatc at " << SPILL_FLATC;
  Place place;
  const auto bytes = pattern(5000);
  ASSERT_TRUE(write_blob(place / "small.blob", bytes));
  const auto command = std::string(SPILL_FLATC) + " --json --strict-json --raw-binary -o '" +
                       place.path().native() + "' '" + SPILL_SCHEMA + "' -- '" +
                       (place / "small.blob").native() + "'";
  ASSERT_EQ(std::system(command.c_str()), 0) << command;
  std::ifstream stream(place / "small.json");
  const auto json = nlohmann::json::parse(stream);
  EXPECT_EQ(json.at("format_version"), 1);
  EXPECT_EQ(json.at("cluster"), 11);
  EXPECT_EQ(json.at("node"), 22);
  EXPECT_EQ(json.at("incarnation"), 33);
  EXPECT_EQ(json.at("object"), 42);
  EXPECT_EQ(json.at("length"), 5000);
  EXPECT_EQ(json.at("payload_start"), 4096);
  EXPECT_EQ(json.at("type_name"), "Vector{Float64}");
  const auto payload = json.at("payload").get<std::vector<std::uint8_t>>();
  ASSERT_EQ(payload.size(), bytes.size());
  EXPECT_EQ(std::memcmp(payload.data(), bytes.data(), bytes.size()), 0);
}

TEST(SpillFormat, RoundTripOfEverySize) {
  Place place;
  for (const std::size_t size :
       {0UL, 1UL, 7UL, 4095UL, 4096UL, 4097UL, 65'537UL, 1UL << 20, (1UL << 20) + 1, 3'333'333UL}) {
    const auto bytes = pattern(size, static_cast<std::uint32_t>(size));
    const auto path = place / "blob";
    const auto written = write_blob(path, bytes, 42, true);
    ASSERT_TRUE(written) << message(written);
    EXPECT_EQ(fs::file_size(path), kHeaderBytes + size);
    EXPECT_EQ(written->file_bytes(), kHeaderBytes + size);
    const auto opened = File::open(written->ref());
    ASSERT_TRUE(opened) << message(opened);
    EXPECT_EQ(opened->ref(), written->ref());
    EXPECT_EQ(opened->type_name(), "Vector{Float64}");
    for (const auto& file : {*written, *opened}) {
      const auto mapping = file.map();
      ASSERT_TRUE(mapping) << message(mapping);
      EXPECT_EQ(copy_of(mapping->payload()), bytes);
      EXPECT_EQ(reinterpret_cast<std::uintptr_t>(mapping->payload().data()) % 4096, 0U);
      std::vector<std::byte> read(size);
      ASSERT_TRUE(file.read(0, read));
      EXPECT_EQ(read, bytes);
    }
  }
  EXPECT_EQ(place.entries(), 1U);
}

TEST(SpillFormat, MoreThanTwoGigabytes) {
  constexpr std::uint64_t kLength = (std::uint64_t{1} << 31) + 12'345;
  Place place;
  if (fs::space(place.path()).available < 3 * kLength) {
    GTEST_SKIP() << "SKIPPED: less than " << 3 * kLength << " bytes free at " << place.path();
  }
  // Zero pages that take no memory, but for the two ends.
  void* const base = ::mmap(nullptr, kLength, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  ASSERT_NE(base, MAP_FAILED);
  auto* const source = static_cast<std::byte*>(base);
  source[0] = std::byte{1};
  source[kLength - 1] = std::byte{2};
  auto file = write_blob(place / "huge.blob", {source, kLength});
  ::munmap(base, kLength);
  ASSERT_TRUE(file) << message(file);
  EXPECT_EQ(file->ref().length, kLength);
  {
    const auto mapping = file->map();
    ASSERT_TRUE(mapping) << message(mapping);
    EXPECT_EQ(mapping->payload().size(), kLength);
    EXPECT_EQ(mapping->payload().back(), std::byte{2});
  }
  const auto foreign = File::open(file->ref());
  ASSERT_TRUE(foreign) << message(foreign);
  std::vector<std::byte> end(2);
  ASSERT_TRUE(foreign->read(kLength - 2, end));
  EXPECT_EQ(end[1], std::byte{2});
  flip(place / "huge.blob", kHeaderBytes + (std::uint64_t{1} << 31) + 5);
  const auto damaged = File::open(file->ref());
  ASSERT_TRUE(damaged);
  EXPECT_EQ(code(damaged->map()), Code::kCorrupt);
}

}  // namespace
}  // namespace mempool::spill
