// Arena: carves blobs out of one fixed region.
//
// Memory given to an arena stays the arena's until it ends; freed extents coalesce at once, so that
// a region that is empty takes any request that fits it. Two kinds: jemalloc over extent hooks
// (jemalloc_arena.cc, the only file that sees jemalloc), and a plain first-fit allocator for the
// sanitizer builds, whose interposed malloc jemalloc cannot share a process with.
#pragma once

#include <cstddef>
#include <memory>
#include <span>

#include <mempool/result.h>

namespace mempool::store {

class Arena {
 public:
  virtual ~Arena() = default;

  /// `bytes` of memory aligned to 64 bytes, or nullptr when no extent fits. Thread-safe.
  virtual std::byte* allocate(std::size_t bytes) noexcept = 0;
  /// `bytes` as it was allocated. Thread-safe.
  virtual void deallocate(std::byte* memory, std::size_t bytes) noexcept = 0;
  /// What an allocation of `bytes` really takes: for the overhead report.
  virtual std::size_t rounded(std::size_t bytes) const noexcept = 0;
};

/// The kind of arena this build uses, over `region`, which outlives it and is page-aligned.
Result<std::unique_ptr<Arena>> make_arena(std::span<std::byte> region);

/// The plain kind, in every build: tests compare both.
std::unique_ptr<Arena> make_plain_arena(std::span<std::byte> region);

}  // namespace mempool::store
