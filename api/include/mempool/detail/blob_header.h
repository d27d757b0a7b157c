// The 64 bytes in front of every payload in a region: what a one-sided reader verifies.
#pragma once

#include <cstddef>
#include <cstdint>

namespace mempool {

/// A reader accepts a payload only if magic, object, generation and length are what its reference
/// says. The owner changes `generation` before it frees the memory; it never undoes that.
/// Fields are native little-endian; the words a reader checks are naturally aligned.
struct alignas(64) BlobHeader {
  static constexpr std::uint64_t kMagic = 0x31304C4F4F504D4DULL;  // "MMPOOL01"

  std::uint64_t magic;
  std::uint64_t object;
  std::uint64_t generation;
  std::uint64_t length;
  std::uint64_t flags;  // 0 in this version
  std::uint64_t reserved[3];
};
static_assert(sizeof(BlobHeader) == 64);

}  // namespace mempool
