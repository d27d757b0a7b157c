#include "store/blob_table.h"

#include <limits>
#include <new>

namespace mempool::store {
namespace {

constexpr std::align_val_t kEntryAlignment{alignof(Entry)};

}  // namespace

BlobTable::~BlobTable() {
  for (std::uint32_t slot = 0; slot < used_slots_; ++slot) at(slot).~Entry();
  for (std::uint64_t place = kFirstBlock; place < used_slots_ + kFirstBlock; place *= 2)
    ::operator delete(&at(static_cast<std::uint32_t>(place - kFirstBlock)), kEntryAlignment);
}

Entry* BlobTable::fresh_slot() {
  constexpr std::uint32_t kSlots = std::numeric_limits<std::uint32_t>::max();
  if (used_slots_ == kSlots) return nullptr;
  const std::uint64_t place = used_slots_ + kFirstBlock;
  if (std::has_single_bit(place)) {
    // The first of its block. Entries are constructed when they are first used, so that a large
    // block costs what is used of it.
    const std::uint64_t bytes = place * sizeof(Entry);
    void* start = ::operator new(bytes, kEntryAlignment);
    origins_[static_cast<std::size_t>(block_of(place))] =
        reinterpret_cast<std::uintptr_t>(start) - bytes;
  }
  Entry* entry = ::new (&at(used_slots_)) Entry;
  entry->id = (std::uint64_t{first_sequence_} << 32) | used_slots_++;
  return entry;
}

Entry* BlobTable::acquire() {
  if (free_slots_ == nullptr) return fresh_slot();
  Entry* entry = free_slots_;
  free_slots_ = entry->next;
  entry->next = nullptr;
  return entry;
}

void BlobTable::release(Entry& entry) {
  entry.data = nullptr;
  entry.length = 0;
  entry.cold.reset();
  entry.flags = 0;
  entry.taken = 0;
  entry.released.store(0, std::memory_order_relaxed);
  if (entry.sequence() == std::numeric_limits<std::uint32_t>::max()) return;  // retired
  entry.id += std::uint64_t{1} << 32;
  entry.next = free_slots_;
  free_slots_ = &entry;
}

}  // namespace mempool::store
