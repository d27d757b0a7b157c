#include "api/remote_get.h"

#include <algorithm>

#include "api/blob_file.h"
#include "api/buffer_access.h"
#include "api/transfer.h"

namespace mempool {

using transport::kHeaderRoomBytes;
using transport::Op;
using transport::Verdict;

namespace {

constexpr int kLocateTries = 2;  // then the owner sends the bytes

}  // namespace

/// Counted from the first call; a warm get never asks.
Cluster::Clock::time_point RemoteGet::deadline() {
  if (deadline_ == Cluster::Clock::time_point{}) deadline_ = cluster_.deadline(options_.timeout_ms);
  return deadline_;
}

// What is inline here and in transport/fabric.cc, every warm get passes.

inline bool RemoteGet::readable(const LocationHint& hint) const {
  return peer_->readable(ref_, hint);
}

/// A fabric that swallows reads, or an owner that is making room, must leave time for the owner to
/// send the bytes; and many gets that were started together do not wait one after the other.
inline std::chrono::milliseconds RemoteGet::read_timeout() const {
  const auto third = cluster_.timeout(options_.timeout_ms) / 3;
  if (deadline_ == Cluster::Clock::time_point{}) return third;
  using std::chrono::milliseconds;
  const auto left = std::chrono::ceil<milliseconds>(deadline_ - Cluster::Clock::now());
  return std::clamp(left, milliseconds(0), third);
}

inline void RemoteGet::count(std::uint64_t bytes) {
  cluster_.counters().count(path_, provider_, bytes);
  const bool unseen = path_ == Path::kSharedMemory || path_ == Path::kRdma || path_ == Path::kTcp;
  if (unseen && options_.touch) peer_->touched(ref_);
}

// ---- the owner's memory ----

/// Tries the hint, and then what the owner says. An attempt that fails for want of a path leads
/// elsewhere, as does a blob that is not in memory.
template <class Attempt>
Result<RemoteGet::Place> RemoteGet::at_hints(Attempt attempt, First first) {
  LocationHint hint = peer_->hint(ref_);
  for (int tries = 0;; ++tries) {
    if (first || readable(hint)) {
      auto verdict = first ? std::move(*first) : attempt(hint);
      first.reset();
      if (verdict && *verdict == Verdict::kAccepted) return Place::kMemory;
      cluster_.counters().count(verdict ? Retry::kRejected : Retry::kFailed);
      const auto code = verdict ? Code::kOk : verdict.error().code;
      if (code == Code::kTimeout || code == Code::kUnavailable) return Place::kElsewhere;
      if (!verdict) return forward_error(std::move(verdict));
    } else if (hint.generation == 0) {
      cluster_.counters().count(Retry::kNotInMemory);
    }
    if (tries == kLocateTries) return Place::kElsewhere;
    auto located = locate();
    if (!located) {
      // Whoever makes room for the blob can send it from its file meanwhile.
      const bool late = located.error().code == Code::kTimeout;
      if (late && !cluster_.options().require_rdma && Cluster::Clock::now() < deadline())
        return Place::kElsewhere;
      return forward_error(std::move(located));
    }
    hint = *located;
    if (!readable(hint)) return Place::kElsewhere;
    peer_->learn(ref_, hint);
  }
}

/// Where the owner says that the blob is now; no hint when only a file has it. Who insists on RDMA
/// has such a blob loaded first.
Result<LocationHint> RemoteGet::locate() {
  for (const bool loaded : {false, true}) {
    const auto whole = deadline();
    const bool insists = cluster_.options().require_rdma;
    const auto until = insists ? whole : Cluster::Clock::now() + read_timeout();
    auto located =
        peer_->session().call({.op = Op::kLocate, .blob = ref_.id, .peek = !options_.touch}, until);
    if (!located) return forward_error(std::move(located));
    if (located->ref.length != ref_.length)
      return fail(Code::kInvalidArgument, "the reference says " + std::to_string(ref_.length) +
                                              " bytes, its blob has " +
                                              std::to_string(located->ref.length));
    in_file_ = {std::move(located->file), located->stamp};
    const auto hint = located->ref.hint;
    if (hint.generation != 0 || loaded || !insists) return hint;
    auto loading = peer_->session().call({.op = Op::kPrefetch, .blob = ref_.id}, deadline());
    if (!loading) return forward_error(std::move(loading));
  }
  return LocationHint{};
}

/// A length from outside must not wrap here.
Status RemoteGet::take_buffer(std::uint64_t payload_bytes) {
  const auto wanted = std::max(payload_bytes, least_room_bytes_);
  const auto room = std::min<std::uint64_t>(wanted, transport::BufferPool::kMaxBytes);
  auto buffer = cluster_.buffers().take(kHeaderRoomBytes + room);
  if (!buffer) return forward_error(std::move(buffer));
  buffer_ = std::move(*buffer);
  return {};
}

std::span<std::byte> RemoteGet::buffered() const {
  return {buffer_.data() + kHeaderRoomBytes, ref_.length};
}

View RemoteGet::buffered_view() {
  const auto bytes = buffered();
  return buffer_view(std::move(buffer_), bytes, path_);
}

inline Result<Verdict> RemoteGet::judge(Result<transport::Peer::Outcome> outcome) {
  if (outcome) {
    if (outcome->late) cluster_.counters().count(Retry::kLate);
    provider_ = outcome->provider;
    path_ = PathCounters::one_sided(*provider_);
    return outcome->verdict;
  }
  buffer_ = transport::Buffer();  // its bytes may still arrive in that one
  return forward_error(std::move(outcome));
}

inline Result<Verdict> RemoteGet::fabric_read(const LocationHint& hint, std::uint64_t offset,
                                              std::uint64_t bytes) {
  if (auto room = need_buffer(bytes); !room) return forward_error(std::move(room));
  return judge(peer_->read(ref_, hint, offset, bytes, buffer_, read_timeout()));
}

Result<Verdict> RemoteGet::shared_copy(const LocationHint& hint, std::uint64_t offset,
                                       std::span<std::byte> out) {
  path_ = Path::kSharedMemory;
  provider_ = nullptr;
  return peer_->shared()->copy(hint, expected(hint), offset, out);
}

/// The whole blob: in place where the memory is shared and a slot is free.
Result<Verdict> RemoteGet::look(const LocationHint& hint) {
  auto* shared = peer_->shared();
  if (!shared) return fabric_read(hint, 0, ref_.length);
  if (auto shown = shared->show(hint, expected(hint))) {
    in_place_ = std::move(shown->view);
    path_ = Path::kSharedMemory;
    return shown->verdict;
  }
  if (auto room = need_buffer(ref_.length); !room) return forward_error(std::move(room));
  return shared_copy(hint, 0, buffered());
}

void RemoteGet::start() {
  (void)deadline();
  const auto hint = peer_->hint(ref_);
  if (peer_->shared() || !readable(hint) || !need_buffer(ref_.length)) return;
  if (auto started = peer_->start(ref_, hint, 0, ref_.length, buffer_))
    started_.emplace(std::move(*started));
}

Result<View> RemoteGet::finish() {
  if (!started_) return view();
  auto verdict = judge(peer_->finish(*started_, read_timeout()));
  started_.reset();
  const auto code = verdict ? Code::kOk : verdict.error().code;
  if (code == Code::kUnavailable) {  // the next provider may bring it
    cluster_.counters().count(Retry::kFailed);
    return view();
  }
  if (code == Code::kTimeout && Cluster::Clock::now() >= deadline())
    return forward_error(std::move(verdict));
  return view(std::move(verdict));
}

// ---- the blob's file ----

/// The file, if this process sees the one that the owner means.
std::optional<spill::File> RemoteGet::visible_file() {
  if (!in_file_ || in_file_->file.path.empty() || !cluster_.paths().mapped_files)
    return std::nullopt;
  const auto& stamp = in_file_->stamp;
  auto file = spill::File::open(
      in_file_->file, {stamp.device, stamp.inode, stamp.size, stamp.modified_ns, stamp.changed_ns});
  const bool same =
      file && file->ref().id.object == ref_.id.object && file->ref().length == ref_.length;
  if (!same) return std::nullopt;
  return std::move(*file);
}

std::optional<View> RemoteGet::map_file() {
  const auto file = visible_file();
  if (!file) return std::nullopt;
  auto view = map_blob_file(*file);
  if (!view) return std::nullopt;  // the owner reports what is wrong with it
  path_ = Path::kMappedFile;
  provider_ = nullptr;
  return std::move(*view);
}

/// A file that neither the owner nor this process has checked is left to the owner, where only a
/// part of it is wanted: of many readers' parts, one check is enough, and the owner keeps what it
/// found.
bool RemoteGet::copy_file(std::uint64_t offset, std::span<std::byte> out) {
  const auto file = visible_file();
  if (!file) return false;
  if (out.size() < ref_.length && file->needs_check()) return false;
  if (!file->read(offset, out)) return false;
  path_ = Path::kMappedFile;
  provider_ = nullptr;
  return true;
}

// ---- the owner sends ----

Status RemoteGet::push(std::uint64_t offset, std::span<std::byte> out) {
  if (cluster_.options().require_rdma)
    return fail(Code::kUnavailable, "RDMA is required, and it did not bring the bytes");
  path_ = Path::kPush;
  provider_ = nullptr;
  const transport::Request first{
      .op = Op::kRead, .blob = ref_.id, .offset = offset, .peek = !options_.touch};
  using std::chrono::milliseconds;
  const auto left = std::chrono::ceil<milliseconds>(deadline() - Cluster::Clock::now());
  const auto timeout =
      out.size() > Transfer::kPartBytes ? cluster_.timeout(options_.timeout_ms) : left;
  auto pushed = push_to(peer_->session(), first, out, timeout);
  const bool unchecked = in_file_ && !in_file_->file.path.empty() && in_file_->stamp.inode == 0;
  if (!pushed && pushed.error().code == Code::kTimeout && unchecked)
    return fail(Code::kTimeout, pushed.error().message +
                                    "; the owner checks the blob's file before it sends a part, "
                                    "and goes on with that: try again");
  return pushed;
}

// ---- all of it ----

Result<View> RemoteGet::view(First first) {
  auto place = at_hints([&](const LocationHint& hint) { return look(hint); }, std::move(first));
  if (!place) return forward_error(std::move(place));
  if (*place == Place::kMemory) {
    count(ref_.length);
    return in_place_.path() == Path::kSharedMemory ? std::move(in_place_) : buffered_view();
  }
  if (auto mapped = map_file()) {
    count(ref_.length);
    return std::move(*mapped);
  }
  if (auto room = need_buffer(ref_.length); !room) return forward_error(std::move(room));
  if (auto pushed = push(0, buffered()); !pushed) return forward_error(std::move(pushed));
  count(ref_.length);
  return buffered_view();
}

Status RemoteGet::copy(std::uint64_t offset, std::span<std::byte> out) {
  auto place = at_hints([&](const LocationHint& hint) -> Result<Verdict> {
    return peer_->shared() ? shared_copy(hint, offset, out) : fabric_read(hint, offset, out.size());
  });
  if (!place) return forward_error(std::move(place));
  if (*place == Place::kMemory) {
    // A fabric brings them to memory that it knows.
    if (!peer_->shared()) std::copy_n(buffer_.data() + kHeaderRoomBytes, out.size(), out.data());
  } else if (!copy_file(offset, out)) {
    if (auto pushed = push(offset, out); !pushed) return pushed;
  }
  count(out.size());
  return {};
}

Status RemoteGet::fill(transport::Buffer& into) {
  buffer_ = std::move(into);
  if (auto room = need_buffer(ref_.length); !room) return room;
  least_room_bytes_ = buffer_.capacity_bytes() - kHeaderRoomBytes;
  auto place = at_hints([&](const LocationHint& hint) -> Result<Verdict> {
    return peer_->shared() ? shared_copy(hint, 0, buffered()) : fabric_read(hint, 0, ref_.length);
  });
  // A read that failed has left the buffer to the fabric, and the caller gets another.
  auto room = need_buffer(ref_.length);
  const auto rest = [&]() -> Status {
    if (!place) return forward_error(std::move(place));
    if (!room) return forward_error(std::move(room));
    if (*place == Place::kMemory || copy_file(0, buffered())) return {};
    return push(0, buffered());
  };
  auto filled = rest();
  into = std::move(buffer_);
  if (filled) count(ref_.length);
  return filled;
}

}  // namespace mempool
