// Making room: which blobs leave memory, in which order, and what happens when one cannot.
#include <algorithm>
#include <utility>

#include "store/store_state.h"

namespace mempool::store {

// Under the table lock. The victims come in the policy's order, and no more than needed. What has a
// file, and what may be discarded, costs no disk; without a disk only those can go.
Store::State::Plan Store::State::plan_room(std::uint64_t length) {
  Plan plan;
  const std::uint64_t limit = options.max_memsize;
  const std::uint64_t needed =
      length <= limit - payload_bytes ? 0 : payload_bytes - (limit - length);
  const Held held = needed != 0 ? remotely_held() : Held();
  std::uint64_t found = 0;
  for (Entry* entry = first_victim(); entry != nullptr && found < needed;
       entry = next_victim(*entry)) {
    if (entry->pinned() || is_held(held, *entry) || entry->length == 0) continue;
    if (entry->moving()) {
      const auto& transition = entry->cold->transition;
      if (transition->kind == Transition::Kind::kWrite) plan.writing = transition;
      continue;
    }
    const bool dirty = entry->must_be_written();
    if (dirty && disk == nullptr) continue;
    if (dirty) plan.dirty_file_bytes += entry->length + disk->overhead_bytes();
    plan.victims.push_back(entry);
    found += entry->length;
  }
  plan.enough = found >= needed;
  return plan;
}

// Its memory goes; without a file the blob goes with it.
void Store::State::evict(Entry& entry, Mappings& mappings) {
  const bool discarded = !entry.has_file();
  drop_memory(entry, mappings);
  ++evictions;
  if (!discarded) return;
  --blobs;
  table.release(entry);
}

Store::State::Room Store::State::make_room(std::uint64_t length, Deadline deadline, Error& error) {
  const std::unique_lock room(room_mutex, deadline);
  if (!room) {
    error = {Code::kTimeout,
             "others are still making room for their blobs: the disk is slower than "
             "what is set; try again, or allow more time"};
    return Room::kFailed;
  }
  std::vector<std::uint64_t> spare;
  const Room made = make_room_locked(length, deadline, error, spare);
  if (made == Room::kReserved)
    keep_spare_files(spare);
  else
    remove_spare_files(spare);
  return made;
}

// Plans, writes what the plan lacks files of, and plans again, because meanwhile blobs are read,
// pinned and deleted. When everything planned can go at once, it goes, and the room is reserved
// under the same lock, so that nobody else takes it.
Store::State::Room Store::State::make_room_locked(std::uint64_t length, Deadline deadline,
                                                  Error& error, std::vector<std::uint64_t>& spare) {
  for (;;) {
    const std::uint64_t room_on_disk = disk_room();
    Mappings mappings;  // goes after the lock
    Lock lock(mutex);
    if (stopping) {
      error = closing();
      return Room::kFailed;
    }
    const Plan plan = plan_room(length);
    if (!plan.enough) {
      if (plan.writing == nullptr) return Room::kNothingToEvict;
      const auto written = [&] { return plan.writing->done || stopping; };
      if (!write_waits.wait_until(lock, deadline, written)) return Room::kNothingToEvict;
      continue;
    }
    if (plan.dirty_file_bytes > room_on_disk) return Room::kDiskFull;
    if (plan.dirty_file_bytes == 0) {
      for (Entry* victim : plan.victims) evict(*victim, mappings);
      payload_bytes += length;
      return Room::kReserved;
    }
    std::vector<std::uint64_t> dirty;
    for (const Entry* victim : plan.victims) {
      if (victim->must_be_written()) dirty.push_back(victim->id);
    }
    lock.unlock();
    if (auto spilled = spill_all(dirty, spare); !spilled) {
      error = std::move(spilled).error();
      return Room::kFailed;
    }
  }
}

Status Store::State::spill_all(const std::vector<std::uint64_t>& objects,
                               std::vector<std::uint64_t>& spare) {
  for (const std::uint64_t object : objects) {
    if (stopping) return tl::unexpected<Error>(closing());
    if (auto spilled = spill(object, spare); !spilled) return spilled;
  }
  return {};
}

// Writes the blob's file and keeps it in memory. No error if it is no victim any more: the next
// plan sees that.
Status Store::State::spill(std::uint64_t object, std::vector<std::uint64_t>& spare) {
  Lock lock(mutex);
  Entry* entry = table.find(object);
  if (entry == nullptr || !entry->in_arena() || !entry->must_be_written() || !evictable(*entry))
    return {};
  if (auto written = write(*entry, lock); !written) return written;
  entry->flags |= Entry::kSpareFile;
  spilled_bytes += entry->length;
  spare.push_back(object);
  return {};
}

void Store::State::keep_spare_files(const std::vector<std::uint64_t>& spare) {
  if (spare.empty()) return;
  const std::lock_guard lock(mutex);
  for (const std::uint64_t object : spare) {
    if (Entry* entry = table.find(object)) entry->flags &= ~Entry::kSpareFile;
  }
}

// The room could not be made: what was written for it alone goes, so that nothing has changed.
void Store::State::remove_spare_files(const std::vector<std::uint64_t>& spare) {
  for (const std::uint64_t object : spare) {
    Lock lock(mutex);
    Entry* entry = table.find(object);
    if (entry == nullptr || (entry->flags & Entry::kSpareFile) == 0 || entry->moving()) continue;
    // As a transition: nobody writes a new file of that name before the old one has gone.
    open_transition(*entry, Transition::Kind::kWrite);
    entry->flags &= ~Entry::kSpareFile;
    const auto file = std::move(entry->cold->file);
    --blobs_on_disk;
    spilled_bytes -= entry->length;
    lock.unlock();
    const auto removed = without_throwing([&] { return file->remove(); });
    lock.lock();
    if (!removed) {  // still a clean copy
      attach_file(*entry, file);
      spilled_bytes += entry->length;
    }
    close_transition(*entry, {});
  }
}

// The limit has room, but no extent of the arena is long enough: frees up to `bytes` of it in the
// policy's order, as far as the disk takes them.
void Store::State::evict_for_extent(std::uint64_t bytes, Deadline deadline) {
  const std::unique_lock room(room_mutex, deadline);
  if (!room) return;
  const std::uint64_t room_on_disk = disk_room();
  std::vector<std::uint64_t> spare;
  const auto victims = extent_victims(bytes, room_on_disk);
  // Best effort: what was written before an error can still go.
  static_cast<void>(spill_all(victims, spare));
  {
    Mappings mappings;
    const std::lock_guard lock(mutex);
    for (const std::uint64_t object : victims) {
      Entry* entry = table.find(object);
      if (entry == nullptr || !entry->in_arena() || !evictable(*entry)) continue;
      if (entry->must_be_written()) continue;
      evict(*entry, mappings);
      ++fragmentation_evictions;
    }
  }
  keep_spare_files(spare);
}

std::vector<std::uint64_t> Store::State::extent_victims(std::uint64_t bytes,
                                                        std::uint64_t room_on_disk) {
  std::vector<std::uint64_t> victims;
  std::uint64_t freed = 0;
  const std::lock_guard lock(mutex);
  const Held held = remotely_held();
  for (Entry* entry = first_victim(); entry != nullptr && freed < bytes;
       entry = next_victim(*entry)) {
    if (!entry->in_arena() || !evictable(*entry) || is_held(held, *entry)) continue;
    if (entry->must_be_written()) {
      if (disk == nullptr) continue;
      const std::uint64_t file_bytes = entry->length + disk->overhead_bytes();
      if (file_bytes > room_on_disk) continue;
      room_on_disk -= file_bytes;
    }
    victims.push_back(entry->id);
    freed += memory_bytes(entry->length);
  }
  return victims;
}

}  // namespace mempool::store
