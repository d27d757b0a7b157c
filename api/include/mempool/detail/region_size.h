// How much memory a pool takes from the system for its limit: what a node registers, and what
// `mempool doctor` looks for room for.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>

namespace mempool {

/// In bytes. The region for it takes less than 2^46: half of the addresses that user programs have
/// on x86-64.
inline constexpr std::uint64_t kLargestMemsize = std::uint64_t{1} << 45;

/// Bytes of freed memory that wait for slow readers, beyond the limit; 0 where no peer reads.
constexpr std::uint64_t quarantine_budget(std::uint64_t max_memsize, bool exposed) {
  constexpr std::uint64_t kLeast = std::uint64_t{64} << 20;
  return exposed ? std::max(kLeast, max_memsize / 4) : 0;
}

/// In bytes. The arena takes a region in one piece only if its size is 2^k times 1, 1.25, 1.5
/// or 1.75. Pages that are never touched take no memory, so that the rounding costs addresses only.
constexpr std::uint64_t region_bytes(std::uint64_t max_memsize, bool exposed) {
  // Below it, an allocator's size classes take more than a small limit's payload.
  constexpr std::uint64_t kLeast = std::uint64_t{8} << 20;
  const std::uint64_t bytes =
      std::max(max_memsize + max_memsize / 2, kLeast) + quarantine_budget(max_memsize, exposed);
  const std::uint64_t step = std::bit_floor(bytes) / 4;
  return (bytes + step - 1) / step * step;
}

}  // namespace mempool
