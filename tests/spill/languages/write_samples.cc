// write_samples FOLDER: blob files that our own code made, for readers in other languages. Beside
// each NAME.blob lie NAME.payload, its bytes, and NAME.expected, what a reader should print.
#include <cstdio>
#include <fstream>
#include <limits>
#include <string>

#include <xxhash.h>

#include "../sparse.h"
#include "spill/header.h"
#include "support/bytes.h"
#include "support/files.h"

namespace mempool::spill {
namespace {

namespace fs = std::filesystem;

constexpr auto kMost = std::numeric_limits<std::uint64_t>::max();

struct Place {
  explicit Place(const fs::path& stem)
      : blob(stem.native() + ".blob"),
        payload(stem.native() + ".payload"),
        expected(stem.native() + ".expected") {}
  fs::path blob;
  fs::path payload;
  fs::path expected;
};

void expect(const Place& place, const BlobMeta& meta, std::uint64_t header_checksum,
            std::uint64_t payload_checksum) {
  std::ofstream out(place.expected);
  out << "format_version " << kFormatVersion << "\nheader_checksum " << header_checksum
      << "\npayload_checksum " << payload_checksum << "\nlength " << meta.length
      << "\npayload_start " << kHeaderBytes << "\ncluster " << meta.id.cluster << "\nnode "
      << meta.id.node << "\nincarnation " << meta.id.incarnation << "\nobject " << meta.id.object
      << "\ntype_name " << meta.type_name << "\npayload " << meta.length << " bytes, as set\n";
}

bool write_blob(const fs::path& path, const BlobMeta& meta, const mempool::test::Bytes& payload) {
  auto writer = Writer::create(path, meta, false);
  return writer && writer->append(payload) && writer->finish(false);
}

bool write_sample(const Place& place, const BlobMeta& meta) {
  const auto payload = mempool::test::pattern(meta.length);
  mempool::test::write_file(place.payload, payload);
  const auto checksum = XXH3_64bits(payload.data(), payload.size());
  const auto header = encode_header(meta, checksum);
  if (!header || !write_blob(place.blob, meta, payload)) return false;
  expect(place, meta, header->header_checksum, checksum);
  return true;
}

// The file is as the writer would write it, but for the hole.
bool write_sparse_sample(const Place& place, const BlobMeta& meta) {
  test::write_sparse_file(place.payload, {}, meta.length);
  const auto checksum = test::sparse_checksum(meta.length);
  const auto header = encode_header(meta, checksum);
  if (!header) return false;
  test::write_sparse_file(place.blob, header->page, kHeaderBytes + meta.length);
  expect(place, meta, header->header_checksum, checksum);
  const auto file = File::open(place.blob);
  return file && file->map();
}

bool write_samples(const fs::path& folder) {
  return write_sample(Place(folder / "empty"), {}) &&
         write_sample(Place(folder / "small"), {.id = {kMost, kMost - 1, kMost / 2 + 1, kMost / 2},
                                                .length = 5,
                                                .type_name = "Vector{Float64}"}) &&
         write_sample(Place(folder / "odd"),
                      {.id = {11, 22, 33, 44}, .length = 100'001, .type_name = "naïve 型"}) &&
         write_sparse_sample(
             Place(folder / "largest"),
             {.id = {1, 2, 3, 4}, .length = kLargestFlatBuffer - kHeaderBytes, .type_name = ""});
}

}  // namespace
}  // namespace mempool::spill

int main(int count, char** arguments) {
  if (count == 2 && mempool::spill::write_samples(arguments[1])) return 0;
  std::fputs("the samples could not be written\n", stderr);
  return 1;
}
