// Sets: drafts, their room and their memory, and the way straight to disk.
#include <algorithm>
#include <cstring>
#include <utility>

#include "store/store_state.h"

namespace mempool::store {
namespace {

tl::unexpected<Error> not_enough_bytes(std::uint64_t length, std::uint64_t filled) {
  return fail(Code::kInvalidArgument, "the blob was begun with " + std::to_string(length) +
                                          " bytes and has " + std::to_string(filled));
}

}  // namespace

void Store::State::describe(Entry& entry, const BlobOptions& blob_options) {
  if (blob_options.drop_on_evict) entry.flags |= Entry::kDropOnEvict;
  if (blob_options.retain) entry.flags |= Entry::kRetain;
  if (!blob_options.type_name.empty()) entry.cold_part().type_name = blob_options.type_name;
}

void Store::State::unreserve(std::uint64_t length) {
  const std::lock_guard lock(mutex);
  payload_bytes -= length;
}

// Memory when the arena has no extent, or the quarantine holds more than it should: waits for the
// quarantine, then evicts, then waits for what was evicted. nullptr: the blob has to go elsewhere,
// at once if it is readers who hold too much, for as long as they like; or the store is stopping.
std::byte* Store::State::allocate_patiently(std::uint64_t bytes, Deadline deadline) {
  // One full wait gives back all that was in quarantine at its start.
  const auto full_wait =
      std::chrono::nanoseconds(quarantine.wait_ns()) + std::chrono::milliseconds(1);
  Deadline patience = std::min(deadline, std::chrono::steady_clock::now() + full_wait);
  bool evicted = false;
  Lock lock(mutex);
  for (;;) {
    drain_quarantine(kDrainedAtOnce);
    if (!quarantine.spent()) {
      if (std::byte* memory = arena->allocate(bytes)) return memory;
    }
    if (stopping) return nullptr;
    const auto now = std::chrono::steady_clock::now();
    const Deadline until = quarantine.spent() ? deadline : patience;
    if (quarantine.worth_waiting() && now < until) {
      // 0 left, if more is due than was given back: then the lock is let go for a moment.
      const std::uint64_t boot_now = boot_time_ns();
      const std::uint64_t look = quarantine.next_look_ns();
      const std::chrono::nanoseconds left(look > boot_now ? look - boot_now : 0);
      quarantine_waits.wait_until(lock, std::min<Deadline>(until, now + left));
      continue;
    }
    if (evicted || quarantine.spent()) return nullptr;
    evicted = true;
    lock.unlock();
    evict_for_extent(2 * bytes, deadline);
    lock.lock();
    patience = std::min(deadline, std::chrono::steady_clock::now() + full_wait);
  }
}

tl::unexpected<Error> Store::State::no_extent(std::uint64_t object) const {
  if (stopping) return tl::unexpected<Error>(closing());
  return fail(Code::kNoSpace, "no extent of memory for " + blob_name(object));
}

// ---- Drafts ----

Store::Draft::Draft(Draft&& other) noexcept
    : store_(std::exchange(other.store_, nullptr)),
      object_(other.object_),
      memory_(std::exchange(other.memory_, nullptr)),
      length_(other.length_),
      filled_(other.filled_),
      writer_(std::move(other.writer_)) {}

Store::Draft& Store::Draft::operator=(Draft&& other) noexcept {
  if (this == &other) return *this;
  discard();
  store_ = std::exchange(other.store_, nullptr);
  object_ = other.object_;
  memory_ = std::exchange(other.memory_, nullptr);
  length_ = other.length_;
  filled_ = other.filled_;
  writer_ = std::move(other.writer_);
  return *this;
}

Store::Draft::~Draft() {
  discard();
}

void Store::Draft::discard() noexcept {
  if (store_ == nullptr) return;
  writer_.reset();
  State& state = *std::exchange(store_, nullptr)->state_;
  const std::lock_guard lock(state.mutex);
  if (memory_ != nullptr) {
    // Straight back: nobody was ever told of a location in it.
    state.arena->deallocate(memory_, memory_bytes(length_));
    state.payload_bytes -= length_;
    memory_ = nullptr;
  }
  state.table.release(state.table.at(static_cast<std::uint32_t>(object_)));
}

Status Store::Draft::append(std::span<const std::byte> bytes) {
  if (store_ == nullptr) return fail(Code::kClosed, "the blob was committed already");
  if (bytes.size() > length_ - filled_)
    return fail(Code::kInvalidArgument,
                "the blob was begun with " + std::to_string(length_) + " bytes and is given more");
  if (bytes.empty()) return {};
  if (writer_ != nullptr) {
    if (auto written = writer_->append(bytes); !written) return written;
  } else {
    std::memcpy(memory_ + sizeof(BlobHeader) + filled_, bytes.data(), bytes.size());
  }
  filled_ += bytes.size();
  return {};
}

Result<Placed> Store::Draft::commit() {
  if (store_ == nullptr) return fail(Code::kClosed, "the blob was committed already");
  if (filled_ != length_) return not_enough_bytes(length_, filled_);
  State& state = *store_->state_;
  Placed placed{object_, {}};
  std::shared_ptr<DiskFile> file;
  if (writer_ != nullptr) {
    auto finished = writer_->finish();
    writer_.reset();
    if (!finished) {
      discard();
      return forward_error(std::move(finished));
    }
    file = std::move(*finished);
  } else {
    placed.hint.offset = static_cast<std::uint64_t>(memory_ - state.regions.front().bytes().data());
    placed.hint.generation = state.new_generation();
    publish_header(memory_, object_, length_, placed.hint.generation);
  }

  const std::lock_guard lock(state.mutex);
  Entry& entry = state.table.at(static_cast<std::uint32_t>(object_));
  entry.length = length_;
  if (file != nullptr)
    state.attach_file(entry, std::move(file));
  else
    state.place(entry, memory_ + sizeof(BlobHeader), Entry::kInArena);
  BlobTable::publish(entry);
  ++state.blobs;
  memory_ = nullptr;
  store_ = nullptr;
  return placed;
}

// ---- Sets ----

Result<Store::Draft> Store::begin(std::uint64_t length, const BlobOptions& options) {
  State& state = *state_;
  Draft draft;
  bool reserved = false;
  bool at_once = false;
  {
    const std::lock_guard lock(state.mutex);
    Entry* entry = state.table.acquire();
    if (entry == nullptr) return fail(Code::kLimit, "this node holds four billion blobs");
    state.describe(*entry, options);
    draft.store_ = this;
    draft.object_ = entry->id;
    draft.length_ = length;
    reserved = state.try_reserve(length);
    state.drain_quarantine(kDrainedPerSet);
    at_once = reserved && !state.quarantine.spent();
  }
  if (at_once) draft.memory_ = state.arena->allocate(memory_bytes(length));
  if (draft.memory_ == nullptr) return begin_slowly(std::move(draft), options, reserved);
  open_header(draft.memory_);
  return draft;
}

Result<Store::Draft> Store::begin_slowly(Draft draft, const BlobOptions& options, bool reserved) {
  State& state = *state_;
  const std::uint64_t length = draft.length_;
  if (length > state.options.max_memsize)
    return begin_on_disk(std::move(draft), options, "is larger than max_memsize");
  const Deadline deadline = deadline_after(options.timeout_ms);
  if (!reserved) {
    Error error;
    switch (state.make_room(length, deadline, error)) {
      case State::Room::kReserved:
        break;
      case State::Room::kFailed:
        return tl::unexpected<Error>(std::move(error));
      case State::Room::kNothingToEvict:
        return begin_on_disk(std::move(draft), options,
                             state.disk != nullptr
                                 ? "finds nothing in memory to evict"
                                 : "finds too little in memory that may be discarded");
      case State::Room::kDiskFull:
        return begin_on_disk(std::move(draft), options,
                             "would evict more than the disk has room for");
    }
  }
  draft.memory_ = state.allocate_patiently(memory_bytes(length), deadline);
  if (draft.memory_ == nullptr) {
    state.unreserve(length);
    if (state.stopping) return tl::unexpected<Error>(closing());
    return begin_on_disk(std::move(draft), options, "finds no free extent of memory");
  }
  open_header(draft.memory_);
  return draft;
}

Result<Store::Draft> Store::begin_on_disk(Draft draft, const BlobOptions& options,
                                          std::string_view why) {
  State& state = *state_;
  const std::string what = "a blob of " + std::to_string(draft.length_) + " bytes " +
                           std::string(why) + " (max_memsize is " +
                           std::to_string(state.options.max_memsize) + ")";
  if (state.disk == nullptr) {
    return fail(Code::kNoSpace,
                what +
                    ", and there is no spill directory: delete blobs or set them with "
                    "drop_on_evict, raise max_memsize, or give a spill_dir");
  }
  auto writer = state.disk->create(draft.object_, draft.length_, options.type_name, options.retain);
  if (!writer) return fail(writer.error().code, what + ": " + writer.error().message);
  draft.writer_ = std::move(*writer);
  return draft;
}

Result<Placed> Store::set(std::span<const std::byte> bytes, const BlobOptions& options) {
  auto draft = begin(bytes.size(), options);
  if (!draft) return forward_error(std::move(draft));
  if (auto appended = draft->append(bytes); !appended) return forward_error(std::move(appended));
  return draft->commit();
}

Result<Placed> Store::adopt(std::shared_ptr<DiskFile> file, const BlobOptions& options) {
  if (file == nullptr) return fail(Code::kInvalidArgument, "no file to adopt");
  State& state = *state_;
  const std::lock_guard lock(state.mutex);
  Entry* entry = state.table.acquire();
  if (entry == nullptr) return fail(Code::kLimit, "this node holds four billion blobs");
  state.describe(*entry, options);
  entry->flags |= Entry::kAdopted;
  entry->length = file->ref().length;
  state.attach_file(*entry, std::move(file));
  BlobTable::publish(*entry);
  ++state.blobs;
  return Placed{entry->id, {}};
}

}  // namespace mempool::store
