#include "store/blob_table.h"

#include <limits>
#include <new>

namespace mempool::store {
namespace {

constexpr std::align_val_t kEntryAlignment{alignof(Entry)};

}  // namespace

BlobTable::~BlobTable() {
  for (std::uint32_t slot = 0; slot < used_slots_; ++slot) at(slot).~Entry();
  for (Entry* block : blocks_) ::operator delete(block, kEntryAlignment);
}

Entry* BlobTable::fresh_slot() {
  if (used_slots_ == Entry::kNoSlot) return nullptr;
  const std::uint64_t place = used_slots_ + kFirstBlock;
  const int block = std::bit_width(place) - 1;
  Entry*& start = blocks_[static_cast<std::size_t>(block - kFirstBlockBits)];
  // Entries are constructed when they are first used, so that a large block costs what is used of
  // it.
  if (start == nullptr)
    start = static_cast<Entry*>(::operator new(sizeof(Entry) << block, kEntryAlignment));
  Entry* entry = ::new (start + (place - (1ULL << block))) Entry;
  entry->slot = used_slots_++;
  entry->sequence = first_sequence_;
  return entry;
}

Entry* BlobTable::acquire() {
  if (free_slots_ == Entry::kNoSlot) return fresh_slot();
  Entry& entry = at(free_slots_);
  free_slots_ = entry.next;
  entry.next = Entry::kNoSlot;
  return &entry;
}

void BlobTable::release(Entry& entry) {
  entry.id = 0;
  entry.data = nullptr;
  entry.length = 0;
  entry.cold.reset();
  entry.flags = 0;
  entry.taken = 0;
  entry.released.store(0, std::memory_order_relaxed);
  if (entry.sequence == std::numeric_limits<std::uint32_t>::max()) return;  // retired
  ++entry.sequence;
  entry.next = free_slots_;
  free_slots_ = entry.slot;
}

void BlobTable::push_most_recent(Entry& entry) {
  entry.previous = Entry::kNoSlot;
  entry.next = most_recent_;
  if (Entry* second = most_recent())
    second->previous = entry.slot;
  else
    least_recent_ = entry.slot;
  most_recent_ = entry.slot;
}

void BlobTable::push_least_recent(Entry& entry) {
  entry.next = Entry::kNoSlot;
  entry.previous = least_recent_;
  if (Entry* last = least_recent())
    last->next = entry.slot;
  else
    most_recent_ = entry.slot;
  least_recent_ = entry.slot;
}

void BlobTable::unlink(Entry& entry) {
  if (Entry* before = newer(entry))
    before->next = entry.next;
  else
    most_recent_ = entry.next;
  if (Entry* after = older(entry))
    after->previous = entry.previous;
  else
    least_recent_ = entry.previous;
  entry.previous = entry.next = Entry::kNoSlot;
}

}  // namespace mempool::store
