// Moves between memory and disk. One thread at a time moves a blob: it opens a transition, does the
// I/O without the table lock, and closes it with a result that those who wait for the same get too.
#include <algorithm>
#include <cstring>
#include <utility>

#include "store/store_state.h"

namespace mempool::store {
namespace {

void release_mapping(void* owner, void*) noexcept {
  delete static_cast<Mapping*>(owner);
}

}  // namespace

View view_of(Mapping mapping) {
  const auto payload = mapping->payload();
  auto holder = std::make_unique<Mapping>(std::move(mapping));
  return View(payload, Path::kMappedFile, &release_mapping, holder.release(), nullptr);
}

std::shared_ptr<Transition> Store::State::open_transition(Entry& entry, Transition::Kind kind) {
  auto transition = std::make_shared<Transition>();
  transition->kind = kind;
  entry.cold_part().transition = transition;
  return transition;
}

void Store::State::close_transition(Entry& entry, Status result) {
  const auto transition = std::move(entry.cold->transition);
  transition->result = std::move(result);
  transition->done = true;
  transition->finished.notify_all();
  write_waits.notify_all();
}

void Store::State::wait_for(Lock& lock, const std::shared_ptr<Transition>& transition) {
  transition->finished.wait(lock, [&transition] { return transition->done; });
}

// ---- On disk -> mapped ----

Result<View> Store::State::get_slowly(std::uint64_t object, Lock& lock) {
  for (;;) {
    Entry* entry = table.find(object);
    if (entry == nullptr) return no_blob(object);
    if (entry->in_memory()) return show(*entry);
    if (!entry->moving()) return map_and_pin(*entry, lock);
    const auto transition = entry->cold->transition;
    wait_for(lock, transition);
    if (transition->kind != Transition::Kind::kMap) continue;
    if (!transition->result) return tl::unexpected<Error>(transition->result.error());
    if (transition->mapping != nullptr) return view_of(transition->mapping);
  }
}

Result<Mapping> Store::State::map_file(Entry& entry) {
  auto mapping = entry.cold->file->map();
  if (mapping && (*mapping)->payload().size() != entry.length)
    return fail(Code::kCorrupt, entry.cold->file->ref().path + " does not hold a blob of " +
                                    std::to_string(entry.length) + " bytes");
  return mapping;
}

// Where the process keeps as many as it may, one takes the place of the one that was mapped first;
// false: there is none here, or they are all looked at.
bool Store::State::make_mapping_room(Mappings& mappings) {
  constexpr std::size_t kLookedAt = 16;
  if (may_keep_mapping()) return true;
  for (std::size_t i = 0; i < std::min(mapped.size(), kLookedAt); ++i) {
    Entry* const first = mapped.front();
    if (evictable(*first)) {
      evict(*first, mappings);
      return true;
    }
    mapped.splice(mapped.end(), mapped, mapped.begin());
  }
  return false;
}

// Without room in memory the blob is shown all the same, from a mapping that is not kept.
Result<View> Store::State::map_and_pin(Entry& entry, Lock& lock) {
  Mappings gone;
  const bool may_keep = make_mapping_room(gone);
  const auto transition = open_transition(entry, Transition::Kind::kMap);
  lock.unlock();
  gone.clear();
  std::list<Entry*> listed;
  auto mapping = without_throwing([&] {
    listed.push_back(&entry);
    return map_file(entry);
  });
  const bool kept = mapping && may_keep && without_throwing([&] { return reserve(entry.length); });
  lock.lock();
  if (!mapping) {
    close_transition(entry, outcome(mapping));
    return forward_error(std::move(mapping));
  }
  if (!kept) {
    transition->mapping = *mapping;
    close_transition(entry, {});
    return view_of(std::move(*mapping));
  }
  place(entry, (*mapping)->payload().data(), Entry::kMapped);
  entry.cold->mapping = std::move(*mapping);
  entry.cold->in_mapped = listed.begin();
  mapped.splice(mapped.end(), listed);
  close_transition(entry, {});
  return pin(entry);
}

// Counts `length` against the limit, evicting others if need be; never by waiting for more than
// that.
Status Store::State::reserve(std::uint64_t length) {
  if (length > options.max_memsize) return fail(Code::kNoSpace, "it is larger than max_memsize");
  {
    const std::lock_guard lock(mutex);
    if (try_reserve(length)) return {};
  }
  Error failure{Code::kNoSpace, "no room can be made in memory"};
  const Room made = make_room(length, deadline_after(kDefaultTimeoutMs), failure);
  if (made == Room::kReserved) return {};
  return tl::unexpected(std::move(failure));
}

// ---- In memory -> on disk ----

// Called inside a transition, without the table lock.
Result<std::shared_ptr<DiskFile>> Store::State::write_file(Entry& entry, bool retain) {
  const std::span payload(entry.data, entry.length);
  auto writer = disk->create(entry.id, entry.length, entry.cold->type_name, retain);
  if (!writer) return forward_error(std::move(writer));
  if (!payload.empty()) {
    if (auto written = (*writer)->append(payload); !written)
      return forward_error(std::move(written));
  }
  return (*writer)->finish();
}

void Store::State::attach_file(Entry& entry, std::shared_ptr<DiskFile> file) {
  entry.cold_part().file = std::move(file);
  ++blobs_on_disk;
}

// Frees the memory of a blob that has a file; if it is pinned, its last view does so, and until
// then it stands where it would be evicted first.
void Store::State::let_go(Entry& entry, Mappings& mappings) {
  if (!entry.in_memory() || !entry.has_file()) return;
  // Marked before it is looked at: a view that ends in between sees the mark, or is seen.
  entry.released.fetch_or(Entry::kLetGo, std::memory_order_acq_rel);
  if (!entry.pinned()) {
    drop_memory(entry, mappings);
    return;
  }
  table.unlink(entry);
  if (options.policy == Policy::kLru)
    table.push_least_recent(entry);
  else
    table.push_most_recent(entry);
}

Result<FileRef> Store::write_to_disk(std::uint64_t object, bool release) {
  State& state = *state_;
  Mappings mappings;  // goes after the lock
  Lock lock(state.mutex);
  for (;;) {
    Entry* entry = state.table.find(object);
    if (entry == nullptr) return no_blob(object);
    if (entry->moving()) {
      const auto transition = entry->cold->transition;
      State::wait_for(lock, transition);
      if (transition->kind == Transition::Kind::kWrite && !transition->result)
        return tl::unexpected<Error>(transition->result.error());
      continue;
    }
    if (!entry->has_file()) {
      if (auto written = state.write(*entry, lock); !written)
        return forward_error(std::move(written));
    }
    entry->flags &= ~Entry::kSpareFile;  // somebody knows of it now
    FileRef file = entry->cold->file->ref();
    if (release) state.let_go(*entry, mappings);
    return file;
  }
}

Status Store::State::write(Entry& entry, Lock& lock) {
  if (disk == nullptr) {
    return fail(Code::kUnsupported,
                "there is no spill directory to write blobs to (spill_dir is none); savetodisk "
                "writes to a path of the caller's");
  }
  const bool retain = (entry.flags & Entry::kRetain) != 0;
  open_transition(entry, Transition::Kind::kWrite);
  lock.unlock();
  auto file = without_throwing([&] { return write_file(entry, retain); });
  lock.lock();
  if (!file) {
    close_transition(entry, outcome(file));
    return forward_error(std::move(file));
  }
  attach_file(entry, std::move(*file));
  close_transition(entry, {});
  return {};
}

// ---- On disk or mapped -> in the arena ----

Status Store::load(std::uint64_t object) {
  State& state = *state_;
  Lock lock(state.mutex);
  for (;;) {
    Entry* entry = state.table.find(object);
    if (entry == nullptr) return no_blob(object);
    if (entry->moving()) {
      const auto transition = entry->cold->transition;
      State::wait_for(lock, transition);
      if (transition->kind == Transition::Kind::kLoad && !transition->result)
        return tl::unexpected<Error>(transition->result.error());
      continue;
    }
    if (entry->in_arena() || (entry->in_memory() && entry->pinned())) {
      // A mapped blob stays mapped while somebody looks at it: it is in memory, which is what
      // counts.
      entry->released.fetch_and(~Entry::kLetGo, std::memory_order_relaxed);
      state.table.touch(*entry);
      return {};
    }
    return entry->in_memory() ? state.load_mapped(*entry, lock) : state.load_file(*entry, lock);
  }
}

// Called inside a transition, without the table lock.
std::byte* Store::State::allocate_for_load(std::uint64_t length) {
  const auto memory = without_throwing([&]() -> Result<std::byte*> {
    return allocate_patiently(memory_bytes(length), deadline_after(kDefaultTimeoutMs));
  });
  if (!memory || *memory == nullptr) return nullptr;
  open_header(*memory);
  return *memory;
}

// The length is counted already, for the mapping.
Status Store::State::load_mapped(Entry& entry, Lock& lock) {
  const std::uint64_t object = entry.id;
  Mapping mapping;  // goes after the lock
  open_transition(entry, Transition::Kind::kLoad);
  lock.unlock();
  std::byte* memory = allocate_for_load(entry.length);
  // Not from the mapping: a file that somebody truncated would be a SIGBUS there.
  const Status result = read_payload(entry, memory);
  lock.lock();
  if (!result || entry.pinned()) {
    if (memory != nullptr) arena->deallocate(memory, memory_bytes(entry.length));
    if (result) table.touch(entry);
  } else {
    publish_header(memory, object, entry.length, new_generation());
    mapping = std::move(entry.cold->mapping);
    entry.data = memory + sizeof(BlobHeader);
    entry.flags = (entry.flags & ~Entry::kMapped) | Entry::kInArena;
    mapped.erase(entry.cold->in_mapped);
    table.touch(entry);
  }
  close_transition(entry, outcome(result));
  lock.unlock();
  return result;
}

Status Store::State::load_file(Entry& entry, Lock& lock) {
  const std::uint64_t object = entry.id;
  open_transition(entry, Transition::Kind::kLoad);
  lock.unlock();
  std::byte* memory = nullptr;
  const Status result = without_throwing([&] { return read_file(entry, memory); });
  lock.lock();
  if (result) {
    publish_header(memory, object, entry.length, new_generation());
    place(entry, memory + sizeof(BlobHeader), Entry::kInArena);
  }
  close_transition(entry, outcome(result));
  return result;
}

// Called inside a transition, without the table lock. On success `memory` holds the payload, and
// its length is counted.
Status Store::State::read_file(Entry& entry, std::byte*& memory) {
  const std::uint64_t length = entry.length;
  if (auto reserved = reserve(length); !reserved)
    return fail(reserved.error().code,
                "loading " + blob_name(entry.id) + ": " + reserved.error().message);
  memory = allocate_for_load(length);
  auto read = read_payload(entry, memory);
  if (read) return {};
  // Straight back: nobody was ever told of a location in it.
  if (memory != nullptr) arena->deallocate(memory, memory_bytes(length));
  unreserve(length);
  return read;
}

// To memory in the arena; null where there was none.
Status Store::State::read_payload(Entry& entry, std::byte* memory) {
  return without_throwing([&]() -> Status {
    if (memory == nullptr) return no_extent(entry.id);
    return entry.cold->file->read({memory + sizeof(BlobHeader), entry.length});
  });
}

// ---- Deleting ----

Status Store::remove(std::uint64_t object) {
  State& state = *state_;
  Mappings mappings;
  std::shared_ptr<DiskFile> file;
  {
    Lock lock(state.mutex);
    Entry* entry = state.table.find(object);
    while (entry != nullptr && entry->moving()) {
      State::wait_for(lock, std::shared_ptr(entry->cold->transition));
      entry = state.table.find(object);
    }
    if (entry == nullptr) return no_blob(object);
    file = state.unlink(*entry);
    // Exactly one of this and the last view finds that nobody else is left.
    if (entry->mark_dead()) state.reclaim(*entry, mappings);
  }
  if (file == nullptr) return {};
  return file->remove();
}

// From here on nobody finds the blob. What comes back is the file to remove, if any.
std::shared_ptr<DiskFile> Store::State::unlink(Entry& entry) {
  if (entry.in_arena()) mark_dead(memory_of(entry));
  if (entry.in_memory()) {
    table.unlink(entry);
    --blobs_in_memory;
  }
  entry.unpublish();
  --blobs;
  if (!entry.has_file()) return nullptr;
  --blobs_on_disk;
  if ((entry.flags & (Entry::kRetain | Entry::kAdopted)) != 0) return nullptr;
  return std::move(entry.cold->file);
}

}  // namespace mempool::store
