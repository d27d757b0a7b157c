// Valid blob files of any size that take no room: the payload is a hole up to its last byte.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <span>
#include <vector>

#include "spill/checksum.h"
#include "spill/header.h"
#include "support/files.h"

namespace mempool::spill::test {

inline constexpr char kSparseEnd = '\x7F';

/// `head`, then a hole, and the last of `bytes` is kSparseEnd.
inline void write_sparse_file(const std::filesystem::path& path, std::span<const std::byte> head,
                              std::uint64_t bytes) {
  mempool::test::write_file(path, head);
  std::filesystem::resize_file(path, bytes - 1);
  std::ofstream(path, std::ios::app) << kSparseEnd;
}

/// The checksum of such a payload.
inline std::uint64_t sparse_checksum(std::uint64_t length) {
  const std::vector<std::byte> zeros(Checksum::kChunk);
  const auto end = static_cast<std::byte>(kSparseEnd);
  Checksum sum;
  for (std::uint64_t left = length - 1; left > 0;) {
    const auto piece = std::min<std::uint64_t>(left, zeros.size());
    sum.update(std::span(zeros).first(piece));
    left -= piece;
  }
  sum.update({&end, 1});
  return sum.value();
}

}  // namespace mempool::spill::test
