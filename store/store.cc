#include "store/store.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <utility>

#include <sys/random.h>

#include <mempool/detail/region_size.h>

#include "store/store_state.h"

namespace mempool::store {
namespace {

Status check(const StoreOptions& options) {
  if (options.max_memsize == 0)
    return fail(Code::kInvalidArgument,
                "max_memsize is 0: a pool needs a memory limit of a byte or more");
  if (options.max_memsize > kLargestMemsize)
    return fail(Code::kInvalidArgument, "max_memsize of " + std::to_string(options.max_memsize) +
                                            " bytes is more than a process can address");
  if (options.policy != Policy::kLru && options.policy != Policy::kMru)
    return fail(Code::kInvalidArgument, "unknown eviction policy " +
                                            std::to_string(static_cast<unsigned>(options.policy)) +
                                            ": use kLru or kMru");
  return {};
}

std::uint64_t random_seed() {
  std::uint64_t seed = 0;
  // Without entropy (very early in a boot) the time still makes two lives differ.
  if (::getrandom(&seed, sizeof(seed), 0) != static_cast<ssize_t>(sizeof(seed)))
    seed = boot_time_ns();
  return seed;
}

}  // namespace

std::uint64_t boot_time_ns() noexcept {
  timespec now{};
  ::clock_gettime(CLOCK_BOOTTIME, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000ULL +
         static_cast<std::uint64_t>(now.tv_nsec);
}

Deadline deadline_after(std::uint32_t timeout_ms) {
  return std::chrono::steady_clock::now() + std::chrono::milliseconds(timeout_ms);
}

std::string blob_name(std::uint64_t object) {
  return "blob " + std::to_string(object);
}

tl::unexpected<Error> no_blob(std::uint64_t object) {
  return fail(Code::kNotFound, "no " + blob_name(object));
}

Store::State::State(const StoreOptions& store_options, std::unique_ptr<Disk> store_disk,
                    Region region, std::unique_ptr<Arena> region_arena,
                    std::uint64_t quarantine_bytes)
    : options(store_options),
      quarantine(quarantine_bytes, std::uint64_t{store_options.quarantine_ms} * 1'000'000ULL),
      disk(std::move(store_disk)),
      arena(std::move(region_arena)),
      generation_seed(random_seed()) {
  regions.push_back(std::move(region));
}

Store::Store(std::unique_ptr<State> state) noexcept : state_(std::move(state)) {}

Result<std::unique_ptr<Store>> Store::create(const StoreOptions& options,
                                             std::unique_ptr<Disk> disk) {
  if (auto checked = check(options); !checked) return forward_error(std::move(checked));
  auto region = Region::create(region_bytes(options.max_memsize, options.exposed));
  if (!region) return forward_error(std::move(region));
  auto arena = make_arena(region->bytes());
  if (!arena) return forward_error(std::move(arena));
  auto state =
      std::make_unique<State>(options, std::move(disk), std::move(*region), std::move(*arena),
                              quarantine_budget(options.max_memsize, options.exposed));
  return std::unique_ptr<Store>(new Store(std::move(state)));
}

Store::~Store() {
  // With views alive the last of them deletes the state.
  if (state_->abandon()) static_cast<void>(state_.release());
}

bool Store::State::abandon() {
  std::unique_ptr<Disk> ended;  // goes after the lock: it removes files
  const std::lock_guard lock(mutex);
  for (std::uint32_t slot = 0; slot < table.slots(); ++slot) {
    Entry& entry = table.at(slot);
    if (entry.published() && entry.cold != nullptr) entry.cold->file.reset();
    // Those that are marked already wait for their last view, too.
    const bool dead = (entry.released.load(std::memory_order_acquire) & Entry::kDead) != 0;
    if (!dead && entry.mark_dead()) continue;
    // Out of the order, as every deleted entry is: its last view reclaims it.
    if (entry.published() && entry.in_memory()) table.unlink(entry);
    entry.unpublish();
    ++abandoned_pins;
  }
  abandoned = abandoned_pins != 0;
  if (abandoned) ended = std::move(disk);
  return abandoned;
}

const std::vector<Region>& Store::regions() const noexcept {
  return state_->regions;
}

std::size_t Store::overhead_bytes() noexcept {
  return sizeof(BlobHeader) + sizeof(Entry);
}

// ---- Pins ----

void Store::State::unpin(void* owner, void* item) noexcept {
  Entry& entry = *static_cast<Entry*>(item);
  auto released = entry.released.load(std::memory_order_relaxed);
  do {
    if ((released & (Entry::kDead | Entry::kLetGo)) != 0) [[unlikely]]
      return static_cast<State*>(owner)->unpin_marked(entry);
  } while (!entry.released.compare_exchange_weak(
      released, released - Entry::kOnePin, std::memory_order_release, std::memory_order_relaxed));
}

// The pin is kept until the lock is held: without it, the store may end at any moment.
void Store::State::unpin_marked(Entry& entry) noexcept {
  // A forked child has copies of its parent's views, but not the region; and whoever held the lock
  // is not there to let it go.
  if (current_forks() != birth_forks) return;
  Mappings mappings;
  bool last_of_all = false;
  {
    const std::lock_guard lock(mutex);
    const auto left =
        entry.released.fetch_sub(Entry::kOnePin, std::memory_order_acq_rel) - Entry::kOnePin;
    if ((left & Entry::kDead) != 0) {
      if (left / Entry::kOnePin != 0) return;
      reclaim(entry, mappings);
      last_of_all = abandoned && --abandoned_pins == 0;
    } else if ((left & Entry::kLetGo) != 0 && evictable(entry)) {
      let_go(entry, mappings);
    }
  }
  mappings.clear();
  if (last_of_all) delete this;
}

std::uint64_t Store::State::new_generation() noexcept {
  for (;;) {
    // splitmix64: the counter may be stepped by any thread, the mix makes it random.
    std::uint64_t mixed = generation_seed.fetch_add(0x9E3779B97F4A7C15ULL);
    mixed = (mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9ULL;
    mixed = (mixed ^ (mixed >> 27)) * 0x94D049BB133111EBULL;
    mixed ^= mixed >> 31;
    if (mixed != 0) return mixed;
  }
}

// ---- Reading ----

Result<View> Store::get(std::uint64_t object) {
  State& state = *state_;
  Lock lock(state.mutex);
  Entry* entry = state.table.find(object);
  if (entry != nullptr && entry->in_memory()) [[likely]] {
    ++state.hits;
    return state.show(*entry);
  }
  ++state.misses;
  return state.get_slowly(object, lock);
}

PathStats Store::gets_in_arena() const {
  const std::lock_guard lock(state_->mutex);
  return state_->gets;
}

std::optional<View> Store::get_in_arena(std::uint64_t object, bool touch) {
  State& state = *state_;
  const std::lock_guard lock(state.mutex);
  Entry* entry = state.table.find(object);
  if (entry == nullptr || !entry->in_arena()) return std::nullopt;
  ++state.hits;
  if (touch) state.table.touch(*entry);
  return state.pin(*entry);
}

Result<View> Store::peek(std::uint64_t object) {
  State& state = *state_;
  std::shared_ptr<DiskFile> file;
  {
    const std::lock_guard lock(state.mutex);
    Entry* entry = state.table.find(object);
    if (entry == nullptr) return no_blob(object);
    if (entry->in_memory()) return state.pin(*entry);
    file = entry->cold->file;
  }
  auto mapping = file->map();
  if (!mapping) return forward_error(std::move(mapping));
  return view_of(std::move(*mapping));
}

Result<std::shared_ptr<DiskFile>> Store::file(std::uint64_t object) {
  State& state = *state_;
  const std::lock_guard lock(state.mutex);
  const Entry* entry = state.table.find(object);
  if (entry == nullptr) return no_blob(object);
  return entry->has_file() ? entry->cold->file : nullptr;
}

Result<Location> Store::locate(std::uint64_t object, bool touch) {
  State& state = *state_;
  const std::lock_guard lock(state.mutex);
  Entry* entry = state.table.find(object);
  if (entry == nullptr) {
    ++state.misses;
    return no_blob(object);
  }
  if (touch && entry->in_memory()) state.table.touch(*entry);
  Location location;
  location.length = entry->length;
  if (!entry->in_arena()) {
    ++state.misses;
    location.file = entry->cold->file;
    if (touch) ++entry->cold->reads_from_file;
    location.reads_from_file = entry->cold->reads_from_file;
    return location;
  }
  ++state.hits;
  const std::byte* memory = memory_of(*entry);
  location.hint.offset = static_cast<std::uint64_t>(memory - state.regions.front().bytes().data());
  location.hint.generation = generation_of(memory);
  return location;
}

void Store::touch(std::uint64_t object) noexcept {
  State& state = *state_;
  const std::lock_guard lock(state.mutex);
  Entry* entry = state.table.find(object);
  if (entry != nullptr && entry->in_memory()) state.table.touch(*entry);
}

void Store::stop_waiting() {
  State& state = *state_;
  const std::lock_guard lock(state.mutex);
  state.stopping = true;
  state.quarantine_waits.notify_all();
  state.write_waits.notify_all();
}

// ---- Reports ----

Result<BlobInfo> Store::inspect(std::uint64_t object) {
  State& state = *state_;
  const std::lock_guard lock(state.mutex);
  Entry* entry = state.table.find(object);
  if (entry == nullptr) return no_blob(object);
  BlobInfo info;
  info.ref.id.object = object;
  info.ref.length = entry->length;
  if (entry->in_arena()) {
    const std::byte* memory = memory_of(*entry);
    info.ref.hint.offset =
        static_cast<std::uint64_t>(memory - state.regions.front().bytes().data());
    info.ref.hint.generation = generation_of(memory);
  }
  if (entry->cold != nullptr) info.type_name = entry->cold->type_name;
  info.in_memory = entry->in_memory();
  info.on_disk = entry->has_file();
  info.pins = entry->pins();
  info.drop_on_evict = (entry->flags & Entry::kDropOnEvict) != 0;
  info.retain = (entry->flags & Entry::kRetain) != 0;
  if (info.on_disk) info.file = entry->cold->file->ref().path;
  return info;
}

// In steps, so that gets are not held up by the size of the table.
void Store::State::count_pinned(std::uint64_t& pinned) {
  constexpr std::uint32_t kStep = 4096;
  for (std::uint32_t slot = 0;;) {
    const std::lock_guard lock(mutex);
    const std::uint32_t end = std::min(table.slots(), slot + kStep);
    for (; slot < end; ++slot) pinned += table.at(slot).pinned() ? 1 : 0;
    if (slot >= table.slots()) return;
  }
}

StoreStats Store::stats() const {
  State& state = *state_;
  StoreStats stats;
  state.count_pinned(stats.pinned_blobs);
  if (state.disk != nullptr) {
    stats.disk_bytes = state.disk->used_bytes();
    stats.max_disksize = state.disk->quota_bytes();
  }
  state.drain_all_of_quarantine();
  const std::lock_guard lock(state.mutex);
  stats.payload_bytes = state.payload_bytes;
  stats.max_memsize = state.options.max_memsize;
  stats.capacity_bytes = state.regions.front().bytes().size();
  stats.blobs = state.blobs;
  stats.blobs_in_memory = state.blobs_in_memory;
  stats.blobs_on_disk = state.blobs_on_disk;
  stats.spilled_bytes = state.spilled_bytes;
  stats.hits = state.hits;
  stats.misses = state.misses;
  stats.evictions = state.evictions;
  stats.fragmentation_evictions = state.fragmentation_evictions;
  stats.quarantined_bytes = state.quarantine.bytes();
  return stats;
}

std::vector<std::uint64_t> Store::plan_eviction(std::uint64_t bytes) const {
  State& state = *state_;
  const std::uint64_t disk_room = state.disk_room();
  const std::lock_guard lock(state.mutex);
  if (bytes > state.options.max_memsize) return {};
  const State::Plan plan = state.plan_room(bytes);
  if (!plan.enough || plan.dirty_file_bytes > disk_room) return {};
  std::vector<std::uint64_t> objects;
  for (const Entry* victim : plan.victims) objects.push_back(victim->id);
  return objects;
}

std::vector<std::uint64_t> Store::order() const {
  State& state = *state_;
  const std::lock_guard lock(state.mutex);
  std::vector<std::uint64_t> objects;
  for (Entry* entry = state.table.most_recent(); entry != nullptr;
       entry = state.table.older(*entry))
    objects.push_back(entry->id);
  return objects;
}

}  // namespace mempool::store
