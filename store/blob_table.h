// BlobTable: the blobs of a store by object id, and their order of use.
//
// A generational slot map: an object id is {sequence, slot}, so that a look-up is two loads and an
// id is never given twice: each use of a slot has the next sequence, and a slot whose sequence
// would wrap is retired. Entries have stable addresses. The order of use is a list through the
// entries by pointer; every change of it costs the same whatever the number of blobs.
//
// Thread safety: none of its own; the store's table lock guards everything here but
// Entry::released.
#pragma once

#include <array>
#include <atomic>
#include <bit>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <string>

#include <mempool/result.h>

#include "store/disk.h"

namespace mempool::store {

/// A blob on its way from one state to another. Whoever opened it closes it; others wait for
/// `done`.
struct Transition {
  enum class Kind : std::uint8_t {
    kWrite,  // in the arena -> also in a file
    kMap,    // on disk -> mapped
    kLoad,   // on disk or mapped -> in the arena
  };

  Kind kind;
  bool done = false;                           // guarded by the table lock, like all of this
  Status result;                               // once done
  std::shared_ptr<const DiskMapping> mapping;  // of a kMap that found no room to be kept
  std::condition_variable_any finished;
};

/// What most blobs have nothing of; allocated when it is first needed.
struct ColdPart {
  std::string type_name;
  std::shared_ptr<DiskFile> file;
  std::shared_ptr<const DiskMapping> mapping;
  std::list<struct Entry*>::iterator in_mapped;  // place in the list of those with a mapping
  std::shared_ptr<Transition> transition;
  std::uint32_t reads_from_file = 0;  // by peers, since the blob left the arena
};

/// One blob: a cache line. With the header in front of the payload, all that a small blob in memory
/// costs.
struct alignas(64) Entry {
  // Pins are counted in two words: `taken` under the table lock, and `released`, which views step
  // down without it, so that a get pays one atomic operation less. Their sum, modulo 2^30, is the
  // number of pins. In `released` the count stands above two bits, which its wrapping therefore
  // leaves alone; with one of them set, views step it down under the lock, too.
  static constexpr std::uint32_t kDead = 1;   // deleted: the last unpinner reclaims it
  static constexpr std::uint32_t kLetGo = 2;  // has a file: the last unpinner frees the memory
  static constexpr std::uint32_t kOnePin = 4;

  // Bits of `flags`.
  static constexpr std::uint32_t kInArena = 1;
  static constexpr std::uint32_t kMapped = 2;  // never together with kInArena
  static constexpr std::uint32_t kDropOnEvict = 4;
  static constexpr std::uint32_t kRetain = 8;
  static constexpr std::uint32_t kAdopted = 16;
  // The file was written to make room that is not made yet, and nobody was told of it: if the room
  // cannot be made, it goes again.
  static constexpr std::uint32_t kSpareFile = 32;
  static constexpr std::uint32_t kPublished = 64;  // neither a free slot, nor a draft, nor deleted

  std::uint64_t id = 0;             // {sequence, slot}: of the blob, or of the next one in the slot
  const std::byte* data = nullptr;  // the payload, when in memory
  std::uint64_t length = 0;         // of the payload, in bytes
  std::unique_ptr<ColdPart> cold;
  Entry* previous = nullptr;  // towards the most recent; both only while in memory
  Entry* next = nullptr;      // towards the least recent; the free list uses it too
  std::atomic<std::uint32_t> released{0};
  std::uint32_t taken = 0;
  std::uint32_t flags = 0;

  std::uint32_t slot() const { return static_cast<std::uint32_t>(id); }
  std::uint32_t sequence() const { return static_cast<std::uint32_t>(id >> 32); }
  bool published() const { return (flags & kPublished) != 0; }
  void unpublish() { flags &= ~kPublished; }
  bool in_memory() const { return (flags & (kInArena | kMapped)) != 0; }
  bool in_arena() const { return (flags & kInArena) != 0; }
  bool has_file() const { return cold != nullptr && cold->file != nullptr; }
  /// Before its memory can go.
  bool must_be_written() const { return !has_file() && (flags & kDropOnEvict) == 0; }
  std::uint32_t pins() const {
    return (taken * kOnePin + released.load(std::memory_order_acquire)) / kOnePin;
  }
  bool pinned() const { return pins() != 0; }
  bool moving() const { return cold != nullptr && cold->transition != nullptr; }

  void pin() { ++taken; }
  /// True: nobody is left, and whoever marked it reclaims it. Not found by its id any more.
  bool mark_dead() {
    // From here on `released` alone counts, so that the last view sees that it is the last.
    const std::uint32_t added = taken * kOnePin;
    taken = 0;
    return (released.fetch_add(added + kDead, std::memory_order_acq_rel) + added) / kOnePin == 0;
  }

  ColdPart& cold_part() {
    if (cold == nullptr) cold = std::make_unique<ColdPart>();
    return *cold;
  }
};
static_assert(sizeof(Entry) == 64);

class BlobTable {
 public:
  explicit BlobTable(std::uint32_t first_sequence = 1) : first_sequence_(first_sequence) {}
  ~BlobTable();
  BlobTable(const BlobTable&) = delete;
  BlobTable& operator=(const BlobTable&) = delete;

  /// A slot for a new blob, not yet found by its id; nullptr when four billion are in use.
  Entry* acquire();
  /// Gives the slot back, emptied; its id never comes again. Not in the order any more.
  void release(Entry& entry);

  /// From here on find() finds it.
  static void publish(Entry& entry) { entry.flags |= Entry::kPublished; }

  Entry* find(std::uint64_t object) {
    const auto slot = static_cast<std::uint32_t>(object);
    if (slot >= used_slots_) return nullptr;
    Entry& entry = at(slot);
    return entry.id == object && entry.published() ? &entry : nullptr;
  }

  /// `slot` below slots().
  Entry& at(std::uint32_t slot) {
    // Block b holds the slots from 1024 * (2^b - 1) on: the address needs no directory that grows.
    const std::uint64_t place = std::uint64_t{slot} + kFirstBlock;
    const std::uintptr_t origin = origins_[static_cast<std::size_t>(block_of(place))];
    return *reinterpret_cast<Entry*>(origin + place * sizeof(Entry));
  }
  std::uint32_t slots() const { return used_slots_; }

  // The order of use.
  void push_most_recent(Entry& entry) {
    settle();
    put_first(entry);
  }
  void push_least_recent(Entry& entry) {
    settle();
    entry.next = nullptr;
    entry.previous = least_recent_;
    (least_recent_ != nullptr ? least_recent_->next : most_recent_) = &entry;
    least_recent_ = &entry;
  }
  void unlink(Entry& entry) {
    settle();
    take_out(entry);
    entry.previous = entry.next = nullptr;
  }
  /// Only noted: by the time that settle() moves it, its neighbours' cache lines are here.
  void touch(Entry& entry) {
    __builtin_prefetch(entry.previous, 1);
    __builtin_prefetch(entry.next, 1);
    touched_[touched_count_] = &entry;
    if (++touched_count_ == kTouched) settle();
  }
  Entry* most_recent() {
    settle();
    return most_recent_;
  }
  Entry* least_recent() {
    settle();
    return least_recent_;
  }
  /// From one that most_recent() or least_recent() gave, with no touch in between.
  static Entry* newer(const Entry& entry) { return entry.previous; }
  static Entry* older(const Entry& entry) { return entry.next; }

 private:
  static constexpr int kFirstBlockBits = 10;
  static constexpr std::uint64_t kFirstBlock = 1ULL << kFirstBlockBits;

  static int block_of(std::uint64_t place) {
    // 63 - leading zeros, in the form that compilers make one instruction of.
    return (63 ^ __builtin_clzll(place)) - kFirstBlockBits;
  }
  Entry* fresh_slot();

  void put_first(Entry& entry) {
    entry.previous = nullptr;
    entry.next = most_recent_;
    (most_recent_ != nullptr ? most_recent_->previous : least_recent_) = &entry;
    most_recent_ = &entry;
  }
  void take_out(Entry& entry) {
    (entry.previous != nullptr ? entry.previous->next : most_recent_) = entry.next;
    (entry.next != nullptr ? entry.next->previous : least_recent_) = entry.previous;
  }
  // Whatever looks at the order or changes it otherwise comes here first: the order is always that
  // of the touches, and what was noted is still in it.
  void settle() {
    for (std::uint32_t i = 0; i < touched_count_; ++i) {
      Entry& entry = *touched_[i];
      if (most_recent_ == &entry) continue;
      take_out(entry);
      put_first(entry);
    }
    touched_count_ = 0;
  }

  static constexpr std::uint32_t kTouched = 8;

  Entry* most_recent_ = nullptr;
  Entry* least_recent_ = nullptr;
  std::array<Entry*, kTouched> touched_{};  // in this order, since the order was last settled
  std::uint32_t touched_count_ = 0;
  std::uint32_t used_slots_ = 0;  // slots ever used; entries below it are constructed
  const std::uint32_t first_sequence_;
  Entry* free_slots_ = nullptr;  // list through Entry::next
  // Each block is twice as long as the one before. Its origin is where its first slot's address
  // would be 0: place * sizeof(Entry) beyond it stands the entry.
  std::array<std::uintptr_t, 33 - kFirstBlockBits> origins_{};
};

}  // namespace mempool::store
