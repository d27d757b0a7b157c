// A jemalloc arena whose extents all come from one region: the only file that sees jemalloc.
//
// The hooks refuse dalloc, purge and decommit, and decay is 0: what is freed goes straight to the
// arena's retained extents and coalesces there, and no page ever leaves. Allocator metadata stays
// out of the region (metadata_use_hooks is false), because peers can read the region.
#include <array>
#include <atomic>
#include <bit>
#include <cstdint>
#include <cstring>
#include <mutex>
#include <string>

#include <jemalloc/jemalloc.h>
#include <sys/types.h>

#include "store/arena.h"

namespace mempool::store {
namespace {

constexpr std::size_t kPage = 4096;

// What experimental.arenas_create_ext reads; jemalloc's public header does not declare it.
struct ArenaConfig {
  extent_hooks_t* extent_hooks;
  bool metadata_use_hooks;
};

class JemallocArena final : public Arena {
 public:
  explicit JemallocArena(std::span<std::byte> region) : hooks_{{}, this}, region_(region) {
    hooks_.table.alloc = &JemallocArena::extent_alloc;
    hooks_.table.dalloc = &JemallocArena::extent_dalloc;
    hooks_.table.destroy = &JemallocArena::extent_destroy;
    hooks_.table.commit = &JemallocArena::extent_commit;
    hooks_.table.decommit = &JemallocArena::extent_refuse;
    hooks_.table.purge_lazy = &JemallocArena::extent_refuse;
    hooks_.table.purge_forced = &JemallocArena::extent_refuse;
    hooks_.table.split = &JemallocArena::extent_split;
    hooks_.table.merge = &JemallocArena::extent_merge;
  }

  ~JemallocArena() override {
    give_back_spares();
    if (created_) control("destroy", nullptr, 0);
  }

  JemallocArena(const JemallocArena&) = delete;
  JemallocArena& operator=(const JemallocArena&) = delete;

  Status open() {
    ArenaConfig config{&hooks_.table, false};
    std::size_t index_bytes = sizeof(index_);
    if (const int error = mallctl("experimental.arenas_create_ext", &index_, &index_bytes, &config,
                                  sizeof(config)))
      return fail(Code::kUnsupported, std::string("jemalloc makes no arena: ") +
                                          std::strerror(error) + "; version 5.3 is needed");
    created_ = true;
    flags_ = MALLOCX_ARENA(index_) | MALLOCX_TCACHE_NONE | MALLOCX_LG_ALIGN(6);
    ssize_t at_once = 0;
    const int dirty = control("dirty_decay_ms", &at_once, sizeof(at_once));
    const int muzzy = control("muzzy_decay_ms", &at_once, sizeof(at_once));
    if (dirty != 0 || muzzy != 0)
      return fail(Code::kUnsupported, "jemalloc refuses a decay of 0 for the pool's arena");
    take_whole_region();
    return {};
  }

  std::byte* allocate(std::size_t bytes) noexcept override {
    if (bytes == 0) bytes = 1;
    if (std::byte* spare = exchange_spare(bytes, nullptr)) return spare;
    if (void* memory = mallocx(bytes, flags_)) return static_cast<std::byte*>(memory);
    // What the spares hold back, whole slabs perhaps, may be what is missing.
    return give_back_spares() ? static_cast<std::byte*>(mallocx(bytes, flags_)) : nullptr;
  }

  void deallocate(std::byte* memory, std::size_t bytes) noexcept override {
    if (memory == nullptr) return;
    if (bytes == 0) bytes = 1;
    if (bytes <= kLargestSpare) memory = exchange_spare(bytes, memory);
    if (memory != nullptr) sdallocx(memory, bytes, flags_);
  }

  std::size_t rounded(std::size_t bytes) const noexcept override {
    return nallocx(bytes == 0 ? 1 : bytes, flags_);
  }

 private:
  // The hooks get a pointer to their table; the owner lies right behind it.
  struct Hooks {
    extent_hooks_t table;
    JemallocArena* owner;
  };

  // With decay 0 the last block of a slab takes the slab with it, and the next one makes it anew:
  // ten times the cost of the block itself when sets and deletes take turns. So the block of each
  // size that was freed last is kept: some hundred KiB at most, and given back when memory is
  // short.
  static constexpr std::size_t kLargestSpare = 16 * 1024;

  // Puts `memory` in the place of its size and returns what was there. Blocks of one place are
  // equally long; sizes are those of the classes, so that any of them serves all requests of it.
  std::byte* exchange_spare(std::size_t bytes, std::byte* memory) noexcept {
    if (bytes > kLargestSpare) return nullptr;
    auto& place = spares_[class_of(bytes)];
    // Looked at first: an exchange costs more than the look.
    if (memory == nullptr && place.load(std::memory_order_relaxed) == nullptr) return nullptr;
    return place.exchange(memory, std::memory_order_acq_rel);
  }

  // jemalloc's size class by number: four steps to each doubling.
  static std::size_t class_of(std::size_t bytes) noexcept {
    if (bytes <= 256) return (bytes - 1) / 64;
    const auto doubling = static_cast<std::size_t>(std::bit_width(bytes - 1));  // from 9 on
    return 4 * (doubling - 8) + (((bytes - 1) >> (doubling - 3)) & 3);
  }
  static constexpr std::size_t kSpares = 28;

  bool give_back_spares() noexcept {
    bool any = false;
    for (auto& place : spares_) {
      std::byte* memory = place.exchange(nullptr, std::memory_order_acq_rel);
      if (memory == nullptr) continue;
      any = true;
      dallocx(memory, flags_);
    }
    return any;
  }

  // jemalloc never merges extents that came from two calls of the alloc hook, so the region is
  // handed over in one call. That happens when its size is one of jemalloc's classes, 2^k times
  // 1, 1.25, 1.5 or 1.75, from 2 MiB on: a request of the class below then grows the arena by
  // exactly that class. A rest above the largest class is used too, but apart.
  void take_whole_region() {
    const std::size_t size = region_.size();
    if (size < 4 * kPage) return;
    const std::size_t step = std::bit_floor(size) / 4;
    const std::size_t largest = size / step * step;
    const std::size_t below = largest == std::bit_floor(size) ? step / 2 : step;
    const std::size_t request = largest - below;
    if (std::byte* all = allocate(request)) deallocate(all, request);
  }

  int control(const char* name, void* value, std::size_t bytes) noexcept {
    char key[64];
    std::snprintf(key, sizeof(key), "arena.%u.%s", index_, name);
    return mallctl(key, nullptr, nullptr, value, bytes);
  }

  static JemallocArena& owner(extent_hooks_t* hooks) {
    return *reinterpret_cast<Hooks*>(hooks)->owner;
  }

  static void* extent_alloc(extent_hooks_t* hooks, void* new_addr, size_t size, size_t alignment,
                            bool* zero, bool* commit, unsigned) {
    if (new_addr != nullptr) return nullptr;
    JemallocArena& arena = owner(hooks);
    const std::lock_guard lock(arena.mutex_);
    const auto base = reinterpret_cast<std::uintptr_t>(arena.region_.data());
    const std::uintptr_t start = (base + arena.handed_out_ + alignment - 1) & ~(alignment - 1);
    const std::size_t offset = start - base;
    if (offset > arena.region_.size() || size > arena.region_.size() - offset) return nullptr;
    arena.handed_out_ = offset + size;
    std::byte* memory = arena.region_.data() + offset;
    if (*zero) std::memset(memory, 0, size);
    *commit = true;
    return memory;
  }

  // True means "refused" in all of these but split and merge, where false means "done".
  static bool extent_dalloc(extent_hooks_t*, void*, size_t, bool, unsigned) { return true; }
  static void extent_destroy(extent_hooks_t*, void*, size_t, bool, unsigned) {}
  static bool extent_commit(extent_hooks_t*, void*, size_t, size_t, size_t, unsigned) {
    return false;
  }
  static bool extent_refuse(extent_hooks_t*, void*, size_t, size_t, size_t, unsigned) {
    return true;
  }
  static bool extent_split(extent_hooks_t*, void*, size_t, size_t, size_t, bool, unsigned) {
    return false;
  }
  static bool extent_merge(extent_hooks_t*, void*, size_t, void*, size_t, bool, unsigned) {
    return false;
  }

  Hooks hooks_;
  std::span<std::byte> region_;
  std::mutex mutex_;
  std::size_t handed_out_ = 0;  // guarded by mutex_; only ever grows
  unsigned index_ = 0;
  int flags_ = 0;
  std::array<std::atomic<std::byte*>, kSpares> spares_{};
  bool created_ = false;
};

}  // namespace

Result<std::unique_ptr<Arena>> make_arena(std::span<std::byte> region) {
  auto arena = std::make_unique<JemallocArena>(region);
  if (auto opened = arena->open(); !opened) return forward_error(std::move(opened));
  return arena;
}

}  // namespace mempool::store
