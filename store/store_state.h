// Store::State: what the files of the store share.
//
// Locks, in the order in which they may be taken:
//   room_mutex  serialises those who make room; held during the I/O of evictions. Who has room
//               never takes it. Its holder waits for transitions of kind kWrite only, and those who
//               write for others never take it: so nobody waits in a circle.
//   mutex       the table lock: entries, order, counters, quarantine. No I/O under it.
// An entry in transition stays where it is: it is neither deleted, nor dropped, nor moved by
// anybody but the transition's owner, who may therefore read its data, length and cold part without
// the lock.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <list>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include <mempool/detail/blob_header.h>
#include <mempool/detail/forks.h>
#include <mempool/detail/timed_mutex.h>

#include "store/arena.h"
#include "store/blob_table.h"
#include "store/quarantine.h"
#include "store/store.h"
#include "store/table_mutex.h"

namespace mempool::store {

using Deadline = std::chrono::steady_clock::time_point;
using Lock = std::unique_lock<TableMutex>;

using Mapping = std::shared_ptr<const DiskMapping>;
/// What is to be let go outside of the table lock: unmapping may take long.
using Mappings = std::vector<Mapping>;

/// A view of a mapping that is not kept: it holds the mapping itself.
View view_of(Mapping mapping);

Deadline deadline_after(std::uint32_t timeout_ms);
/// For calls that have no deadline of their own.
constexpr std::uint32_t kDefaultTimeoutMs = 30'000;

/// CLOCK_BOOTTIME: runs on while the machine sleeps, as a remote reader's clock does.
std::uint64_t boot_time_ns() noexcept;

/// How much of the quarantine is given back under one hold of the table lock: by a set that need
/// not wait, and by those who want all of it.
constexpr std::size_t kDrainedPerSet = 16;
constexpr std::size_t kDrainedAtOnce = 256;

inline Error closing() {
  return {Code::kClosed, "the pool is closing and makes no more room for blobs"};
}
std::string blob_name(std::uint64_t object);
tl::unexpected<Error> no_blob(std::uint64_t object);

/// Memory of a blob in the arena: header, then payload.
inline std::byte* memory_of(const Entry& entry) {
  // The arena's memory is writable; the entry shows it as const because blobs are immutable.
  return const_cast<std::byte*>(entry.data) - sizeof(BlobHeader);
}
inline std::uint64_t memory_bytes(std::uint64_t length) {
  return sizeof(BlobHeader) + length;
}

/// Makes sure that no reference matches what stands there while the payload is being written.
void open_header(std::byte* memory) noexcept;
void publish_header(std::byte* memory, std::uint64_t object, std::uint64_t length,
                    std::uint64_t generation) noexcept;
std::uint64_t generation_of(const std::byte* memory) noexcept;

/// Who does I/O inside a transition closes it: being out of memory is an error of that I/O.
template <class Io>
auto without_throwing(Io io) -> decltype(io()) {
  try {
    return io();
  } catch (const std::exception&) {
    return fail(Code::kLimit, "out of memory");  // short enough to need none
  }
}

/// Whether it went well; without memory to say why it did not, that.
template <class T>
Status outcome(const Result<T>& result) {
  return without_throwing([&]() -> Status {
    if (result) return {};
    return tl::unexpected<Error>(result.error());
  });
}

struct Store::State {
  // What an attempt to make room came to. kReserved: the length is counted and the caller's.
  enum class Room { kReserved, kNothingToEvict, kDiskFull, kFailed };

  struct Plan {
    std::vector<Entry*> victims;         // in the order in which they go
    std::uint64_t dirty_file_bytes = 0;  // what writing those without a file takes of the disk
    bool enough = false;
    std::shared_ptr<Transition> writing;  // of one that could be a victim once it is written
  };

  State(const StoreOptions& store_options, std::unique_ptr<Disk> store_disk, Region region,
        std::unique_ptr<Arena> region_arena, std::uint64_t quarantine_budget);

  // store.cc
  // Inline: a view that is returned from a call and then moved into its result is read back right
  // after it was written, behind all the writes to the order that are still on their way.
  /// For a get: pinned, most recent, counted.
  View show(Entry& entry) {
    if (entry.in_arena()) {
      ++gets.gets;
      gets.bytes += entry.length;
    }
    table.touch(entry);
    return pin(entry);
  }
  View pin(Entry& entry) {
    entry.pin();
    const Path path = entry.in_arena() ? Path::kInProcess : Path::kMappedFile;
    return View({entry.data, entry.length}, path, &State::unpin, this, &entry);
  }
  static void unpin(void* owner, void* item) noexcept;
  void unpin_marked(Entry& entry) noexcept;
  std::uint64_t new_generation() noexcept;
  void count_pinned(std::uint64_t& pinned);
  /// After the destructor of the store, with views alive: gives up what nobody looks at.
  bool abandon();

  // store_set.cc
  void describe(Entry& entry, const BlobOptions& options);
  bool try_reserve(std::uint64_t length) {
    if (length > options.max_memsize - payload_bytes) return false;
    payload_bytes += length;
    return true;
  }
  void unreserve(std::uint64_t length);
  tl::unexpected<Error> no_extent(std::uint64_t object) const;
  std::byte* allocate_patiently(std::uint64_t bytes, Deadline deadline);

  // store_evict.cc
  Plan plan_room(std::uint64_t length);
  Room make_room(std::uint64_t length, Deadline deadline, Error& error);
  Room make_room_locked(std::uint64_t length, Deadline deadline, Error& error,
                        std::vector<std::uint64_t>& spare);
  Status spill_all(const std::vector<std::uint64_t>& objects, std::vector<std::uint64_t>& spare);
  Status spill(std::uint64_t object, std::vector<std::uint64_t>& spare);
  void keep_spare_files(const std::vector<std::uint64_t>& spare);
  void remove_spare_files(const std::vector<std::uint64_t>& spare);
  void evict_for_extent(std::uint64_t bytes, Deadline deadline);
  std::vector<std::uint64_t> extent_victims(std::uint64_t bytes, std::uint64_t disk_room);
  void evict(Entry& entry, Mappings& mappings);
  bool evictable(const Entry& entry) const { return !entry.moving() && !entry.pinned(); }
  Entry* first_victim() {
    return options.policy == Policy::kLru ? table.least_recent() : table.most_recent();
  }
  Entry* next_victim(const Entry& entry) {
    return options.policy == Policy::kLru ? table.newer(entry) : table.older(entry);
  }
  std::uint64_t disk_room() const { return disk == nullptr ? 0 : disk->room_bytes(); }
  bool may_keep_mapping() const { return disk == nullptr || disk->may_keep_mapping(); }

  // store_disk.cc
  std::shared_ptr<Transition> open_transition(Entry& entry, Transition::Kind kind);
  void close_transition(Entry& entry, Status result);
  static void wait_for(Lock& lock, const std::shared_ptr<Transition>& transition);
  Result<View> get_slowly(std::uint64_t object, Lock& lock);
  bool make_mapping_room(Mappings& mappings);
  Result<View> map_and_pin(Entry& entry, Lock& lock);
  Result<std::shared_ptr<const DiskMapping>> map_file(Entry& entry);
  Result<std::shared_ptr<DiskFile>> write_file(Entry& entry, bool retain);
  void attach_file(Entry& entry, std::shared_ptr<DiskFile> file);
  void let_go(Entry& entry, Mappings& mappings);
  Status reserve(std::uint64_t length);
  Status write(Entry& entry, Lock& lock);
  std::byte* allocate_for_load(std::uint64_t length);
  Status read_file(Entry& entry, std::byte*& memory);
  std::shared_ptr<DiskFile> unlink(Entry& entry);
  Status load_mapped(Entry& entry, Lock& lock);
  Status load_file(Entry& entry, Lock& lock);
  Status read_payload(Entry& entry, std::byte* memory);

  // blob_memory.cc
  using Held = std::vector<const std::byte*>;
  void drain_quarantine(std::size_t at_most);
  /// Takes the lock itself, for a step at a time.
  void drain_all_of_quarantine();
  Held remotely_held() const;
  /// A reader in another process looks at it in place. One that begins to after this was asked sees
  /// its bytes all the same: the quarantine asks again.
  static bool is_held(const Held& held, const Entry& entry);
  /// Uncounted; arena memory goes to the quarantine.
  void free_payload(Entry& entry, Mappings& mappings);
  /// The entry's memory goes, out of the order as well.
  void drop_memory(Entry& entry, Mappings& mappings);
  /// The payload is at `data` from now on, and counted already; most recent.
  void place(Entry& entry, const std::byte* data, std::uint32_t where);
  /// Memory that was published: the mark of death and the quarantine.
  void retire(std::byte* memory, std::uint64_t length) noexcept;
  void mark_dead(std::byte* memory) noexcept;
  /// A deleted entry that nobody looks at any more.
  void reclaim(Entry& entry, Mappings& mappings) noexcept;

  // What a get touches stands together.
  alignas(64) TableMutex mutex;
  std::uint64_t hits = 0;
  PathStats gets;  // from the arena: counted here because the lock makes it cheap
  BlobTable table;

  const StoreOptions options;
  std::uint64_t payload_bytes = 0;  // live in memory and reserved; at most max_memsize
  std::uint64_t blobs = 0;
  std::uint64_t blobs_in_memory = 0;
  std::uint64_t blobs_on_disk = 0;
  std::list<Entry*> mapped;  // first mapped first
  std::uint64_t misses = 0;
  std::uint64_t spilled_bytes = 0;
  std::uint64_t evictions = 0;
  std::uint64_t fragmentation_evictions = 0;
  std::uint64_t abandoned_pins = 0;  // entries that outlive the store because views show them
  bool abandoned = false;
  const unsigned birth_forks = current_forks();
  Quarantine quarantine;
  Held held_seen;  // remotely_held() at held_seen_ns
  std::uint64_t held_seen_ns = 0;
  std::condition_variable_any quarantine_waits;  // for time, or `stopping`
  std::condition_variable_any write_waits;       // of who makes room: for a kWrite, or `stopping`
  std::atomic<bool> stopping{false};             // set under the table lock

  TimedMutex room_mutex;
  std::unique_ptr<Disk> disk;
  std::vector<Region> regions;
  std::unique_ptr<Arena> arena;
  std::atomic<std::uint64_t> generation_seed;
};

}  // namespace mempool::store
