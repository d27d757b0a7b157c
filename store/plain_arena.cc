// First fit over a map of the free extents by address. Simple rather than fast: it
// serves the sanitizer builds and the tests.
#include <cstdint>
#include <limits>
#include <map>
#include <mutex>

#include "store/arena.h"

namespace mempool::store {
namespace {

constexpr std::size_t kAlignment = 64;

std::size_t align_up(std::size_t bytes) {
  if (bytes == 0) return kAlignment;
  return (bytes + kAlignment - 1) / kAlignment * kAlignment;
}

class PlainArena final : public Arena {
 public:
  explicit PlainArena(std::span<std::byte> region) {
    const std::size_t usable = region.size() / kAlignment * kAlignment;
    if (usable != 0) free_.emplace(region.data(), usable);
  }

  std::byte* allocate(std::size_t bytes) noexcept override {
    if (bytes > std::numeric_limits<std::size_t>::max() - kAlignment) return nullptr;
    const std::size_t wanted = align_up(bytes);
    const std::lock_guard lock(mutex_);
    for (auto extent = free_.begin(); extent != free_.end(); ++extent) {
      if (extent->second >= wanted) return take(extent, wanted);
    }
    return nullptr;
  }

  void deallocate(std::byte* memory, std::size_t bytes) noexcept override {
    if (memory == nullptr) return;
    std::size_t size = align_up(bytes);
    const std::lock_guard lock(mutex_);
    auto next = free_.lower_bound(memory);
    if (next != free_.end() && memory + size == next->first) {
      size += next->second;
      next = free_.erase(next);
    }
    if (next != free_.begin()) {
      auto before = std::prev(next);
      if (before->first + before->second == memory) {
        before->second += size;
        return;
      }
    }
    free_.emplace_hint(next, memory, size);
  }

  std::size_t rounded(std::size_t bytes) const noexcept override { return align_up(bytes); }

 private:
  using Extents = std::map<std::byte*, std::size_t>;

  std::byte* take(Extents::iterator extent, std::size_t wanted) {
    std::byte* memory = extent->first;
    const std::size_t rest = extent->second - wanted;
    const auto after = free_.erase(extent);
    if (rest != 0) free_.emplace_hint(after, memory + wanted, rest);
    return memory;
  }

  std::mutex mutex_;
  Extents free_;  // disjoint and never adjacent: adjacent ones are merged when they are freed
};

}  // namespace

std::unique_ptr<Arena> make_plain_arena(std::span<std::byte> region) {
  return std::make_unique<PlainArena>(region);
}

#ifdef MEMPOOL_PLAIN_ARENA
Result<std::unique_ptr<Arena>> make_arena(std::span<std::byte> region) {
  return make_plain_arena(region);
}
#endif

}  // namespace mempool::store
