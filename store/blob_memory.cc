// A blob's memory: its header's life, as a one-sided reader sees it, and the way back to the arena.
#include <algorithm>
#include <atomic>
#include <new>

#include <mempool/detail/fence.h>

#include "store/store_state.h"

namespace mempool::store {
namespace {

BlobHeader& header_at(std::byte* memory) {
  return *reinterpret_cast<BlobHeader*>(memory);
}

}  // namespace

void open_header(std::byte* memory) noexcept {
  auto* header = ::new (memory) BlobHeader;
  std::atomic_ref(header->magic).store(0, std::memory_order_relaxed);
}

void publish_header(std::byte* memory, std::uint64_t object, std::uint64_t length,
                    std::uint64_t generation) noexcept {
  BlobHeader& header = header_at(memory);
  std::atomic_ref(header.object).store(object, std::memory_order_relaxed);
  std::atomic_ref(header.generation).store(generation, std::memory_order_relaxed);
  std::atomic_ref(header.length).store(length, std::memory_order_relaxed);
  header.flags = 0;
  for (std::uint64_t& word : header.reserved) word = 0;
  // Last: whoever sees the magic sees the rest, payload included.
  std::atomic_ref(header.magic).store(BlobHeader::kMagic, std::memory_order_release);
}

std::uint64_t generation_of(const std::byte* memory) noexcept {
  return reinterpret_cast<const BlobHeader*>(memory)->generation;
}

void Store::State::mark_dead(std::byte* memory) noexcept {
  // 0 is in no reference: it stands for "no hint".
  std::atomic_ref(header_at(memory).generation).exchange(0, std::memory_order_seq_cst);
  full_fence();
}

void Store::State::retire(std::byte* memory, std::uint64_t length) noexcept {
  mark_dead(memory);
  const auto bytes = static_cast<std::size_t>(memory_bytes(length));
  if (!options.exposed) {
    arena->deallocate(memory, bytes);
    return;
  }
  quarantine.push({memory, bytes, boot_time_ns()});
}

void Store::State::drain_quarantine(std::size_t at_most) {
  if (quarantine.empty()) return;
  const std::uint64_t now = boot_time_ns();
  if (!quarantine.due(now)) return;
  // Looked up after the marks of all that is due, as it is not older than their wait: a reader
  // whose pin counts wrote it before the mark, so it is among them unless it was let go since.
  if (now - held_seen_ns >= std::min(quarantine.wait_ns(), Quarantine::kHeldEvery_ns)) {
    held_seen = remotely_held();
    held_seen_ns = now;
  }
  quarantine.drain(
      now, at_most,
      [this](const std::byte* memory) { return std::ranges::binary_search(held_seen, memory); },
      [this](const Quarantine::Item& item) { arena->deallocate(item.memory, item.bytes); });
}

void Store::State::drain_all_of_quarantine() {
  const std::uint64_t now = boot_time_ns();
  bool more = true;
  while (more) {
    const std::lock_guard lock(mutex);
    drain_quarantine(kDrainedAtOnce);
    more = quarantine.due(now);
  }
}

/// Memory that readers in other processes hold, in the order of addresses.
Store::State::Held Store::State::remotely_held() const {
  Held held;
  if (options.remote_pins == nullptr) return held;
  std::vector<RemotePins::Place> places;
  options.remote_pins->collect(places);
  for (const auto& place : places)
    if (place.region < regions.size() && place.offset < regions[place.region].bytes().size())
      held.push_back(regions[place.region].bytes().data() + place.offset);
  std::ranges::sort(held);
  return held;
}

bool Store::State::is_held(const Held& held, const Entry& entry) {
  return !held.empty() && entry.in_arena() && std::ranges::binary_search(held, memory_of(entry));
}

void Store::State::place(Entry& entry, const std::byte* data, std::uint32_t where) {
  entry.data = data;
  entry.flags |= where;
  table.push_most_recent(entry);
  ++blobs_in_memory;
}

void Store::State::drop_memory(Entry& entry, Mappings& mappings) {
  // Marked before it is unlinked: from the mark on no reader accepts it.
  free_payload(entry, mappings);
  table.unlink(entry);
  if (entry.cold != nullptr) entry.cold->reads_from_file = 0;
  --blobs_in_memory;
  entry.data = nullptr;
  entry.flags &= ~(Entry::kInArena | Entry::kMapped | Entry::kSpareFile);
  entry.released.fetch_and(~Entry::kLetGo, std::memory_order_relaxed);
}

void Store::State::free_payload(Entry& entry, Mappings& mappings) {
  if (entry.in_arena()) {
    retire(memory_of(entry), entry.length);
  } else {
    mappings.push_back(std::move(entry.cold->mapping));
    mapped.erase(entry.cold->in_mapped);
  }
  payload_bytes -= entry.length;
}

void Store::State::reclaim(Entry& entry, Mappings& mappings) noexcept {
  if (entry.in_memory()) free_payload(entry, mappings);
  table.release(entry);
}

}  // namespace mempool::store
