// BlobTable: the blobs of a store by object id, and their order of use.
//
// A generational slot map: an object id is {sequence, slot}, so that a look-up is two loads and an
// id is never given twice: each use of a slot has the next sequence, and a slot whose sequence
// would wrap is retired. Entries have stable addresses. The order of use is a list through the
// entries by slot number; every change of it costs the same whatever the number of blobs.
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
  std::shared_ptr<Transition> transition;
};

/// One blob: a cache line. With the header in front of the payload, all that a small blob in memory
/// costs.
struct alignas(64) Entry {
  static constexpr std::uint32_t kNoSlot = 0xFFFF'FFFF;

  // Pins are counted in two words: `taken` under the table lock, and `released`, which views step
  // down without it, so that a get pays one atomic operation less. Their sum, modulo 2^30, is the
  // number of pins. In `released` the count stands above two bits, which its wrapping therefore
  // leaves alone.
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

  std::uint64_t id = 0;             // 0: a free slot, a draft, or deleted
  const std::byte* data = nullptr;  // the payload, when in memory
  std::uint64_t length = 0;         // of the payload, in bytes
  std::unique_ptr<ColdPart> cold;
  std::uint32_t previous = kNoSlot;  // towards the most recent; both only while in memory
  std::uint32_t next = kNoSlot;      // towards the least recent; the free list uses it too
  std::atomic<std::uint32_t> released{0};
  std::uint32_t taken = 0;
  std::uint32_t flags = 0;
  std::uint32_t slot = 0;
  std::uint32_t sequence = 0;

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

  static std::uint64_t id_of(const Entry& entry) {
    return (std::uint64_t{entry.sequence} << 32) | entry.slot;
  }
  /// From here on find() finds it.
  static void publish(Entry& entry) { entry.id = id_of(entry); }

  Entry* find(std::uint64_t object) {
    const auto slot = static_cast<std::uint32_t>(object);
    if (slot >= used_slots_ || object == 0) return nullptr;
    Entry& entry = at(slot);
    return entry.id == object ? &entry : nullptr;
  }

  /// `slot` below slots().
  Entry& at(std::uint32_t slot) {
    // Block b holds the slots from 1024 * (2^b - 1) on: the address needs no directory that grows.
    const std::uint64_t place = std::uint64_t{slot} + kFirstBlock;
    const int block = std::bit_width(place) - 1;
    return blocks_[static_cast<std::size_t>(block - kFirstBlockBits)][place - (1ULL << block)];
  }
  std::uint32_t slots() const { return used_slots_; }

  // The order of use.
  void push_most_recent(Entry& entry);
  void push_least_recent(Entry& entry);
  void unlink(Entry& entry);
  void touch(Entry& entry) {
    if (most_recent_ == entry.slot) return;
    unlink(entry);
    push_most_recent(entry);
  }
  Entry* most_recent() { return entry_or_null(most_recent_); }
  Entry* least_recent() { return entry_or_null(least_recent_); }
  Entry* newer(const Entry& entry) { return entry_or_null(entry.previous); }
  Entry* older(const Entry& entry) { return entry_or_null(entry.next); }

 private:
  static constexpr int kFirstBlockBits = 10;
  static constexpr std::uint64_t kFirstBlock = 1ULL << kFirstBlockBits;

  Entry* entry_or_null(std::uint32_t slot) { return slot == Entry::kNoSlot ? nullptr : &at(slot); }
  Entry* fresh_slot();

  std::uint32_t most_recent_ = Entry::kNoSlot;
  std::uint32_t least_recent_ = Entry::kNoSlot;
  std::uint32_t used_slots_ = 0;               // slots ever used; entries below it are constructed
  std::uint32_t free_slots_ = Entry::kNoSlot;  // list through Entry::next
  const std::uint32_t first_sequence_;
  std::array<Entry*, 33 - kFirstBlockBits> blocks_{};  // each twice as long as the one before
};

}  // namespace mempool::store
