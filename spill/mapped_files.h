// How many files this process has mapped. The system lets a process have vm.max_map_count mappings,
// whatever their size, and one that has them all can neither allocate nor start a thread: files
// take a quarter of them at most, over all pools, and what comes then is copied or refused.
//
// Thread safety: any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include <mempool/ref.h>
#include <mempool/result.h>

namespace mempool::spill {

class MappedFiles {
 public:
  /// vm.max_map_count / 4.
  static std::uint64_t most();
  /// Another may be kept mapped for gets to come. Half of them are left to views.
  static bool may_keep_one();

  /// False: there are as many as may be.
  static bool take_one();
  static void give_back_one() noexcept;

  /// Memory for a payload that is not mapped; null where it, or all of such memory, would be too
  /// much. Aligned to 64, and no mapping of its own.
  static std::byte* take_copy(std::uint64_t bytes);
  static void give_back_copy(std::span<const std::byte> bytes) noexcept;

  /// What is said where neither is possible.
  static tl::unexpected<Error> too_many(const FileRef& file);
};

}  // namespace mempool::spill
