#include "api/remote.h"

#include <algorithm>
#include <deque>

#include "api/identity.h"
#include "transport/frame.h"

namespace mempool {

using transport::Buffer;
using transport::Connection;
using transport::kHeaderRoomBytes;
using transport::Op;
using transport::Peer;
using transport::Reply;
using transport::Request;
using transport::Verdict;

namespace {

constexpr std::size_t kPartBytes = transport::kMaxPayloadBytes;
constexpr std::size_t kPartsInFlight = 8;
constexpr int kLocateTries = 2;  // then the owner sends the bytes

/// A window of requests, each part of one transfer. The first error stops it; what is in flight is
/// always waited for, because it uses the caller's memory.
class Window {
 public:
  Window(Connection& session, std::chrono::milliseconds timeout)
      : session_(session), timeout_(timeout) {}

  bool send(Request request, std::span<const std::byte> payload, std::span<std::byte> into) {
    if (calls_.size() == kPartsInFlight) collect();
    if (!status_) return false;
    expected_.push_back(into.size());
    calls_.push_back(session_.start(std::move(request), payload, into));
    return true;
  }

  Status finish() {
    while (!calls_.empty()) collect();
    return status_;
  }

 private:
  void collect() {
    auto reply = calls_.front().wait(Cluster::Clock::now() + timeout_);
    if (!reply && status_) status_ = tl::unexpected(reply.error());
    if (reply && reply->payload_bytes != expected_.front() && status_)
      status_ = fail(Code::kProtocol, "the owner sent fewer bytes than were asked for");
    calls_.pop_front();
    expected_.pop_front();
  }

  Connection& session_;
  const std::chrono::milliseconds timeout_;
  std::deque<Connection::Call> calls_;
  std::deque<std::size_t> expected_;
  Status status_;
};

void drop_buffer(void* block, void*) noexcept {
  Buffer dropped(static_cast<transport::BufferBlock*>(block));
}

View view_of(Buffer buffer, std::uint64_t length, Path path) {
  const std::span<const std::byte> bytes(buffer.data() + kHeaderRoomBytes, length);
  return View(bytes, path, drop_buffer, buffer.release(), nullptr);
}

}  // namespace

// ---- whom to ask ----

Result<Cluster::PeerPtr> Remote::owner(const BlobId& id, std::chrono::milliseconds timeout) {
  const auto& mine = cluster_.hello();
  if (id.cluster != mine.cluster)
    return tl::unexpected(check_identity(id, {mine.cluster, 0, 0, 0}).error());
  auto peer = cluster_.peer(id.node, Cluster::Clock::now() + timeout);
  if (!peer) return peer;
  const auto& life = (*peer)->hello();
  if (auto same = check_identity(id, {life.cluster, life.node, life.incarnation, 0}); !same)
    return forward_error(std::move(same));
  return peer;
}

Result<Cluster::PeerPtr> Remote::node_or_any(std::uint64_t node) {
  return node ? cluster_.peer(node, cluster_.deadline()) : cluster_.any_peer(cluster_.deadline());
}

Result<Reply> Remote::ask(const BlobId& id, Request request) {
  auto peer = owner(id, cluster_.timeout(0));
  if (!peer) return forward_error(std::move(peer));
  request.blob = id;
  return (*peer)->session().call(std::move(request), cluster_.deadline());
}

// ---- set ----

Result<DRef> Remote::set(std::span<const std::byte> bytes, const SetOptions& options) {
  auto peer = node_or_any(options.node);
  if (!peer) return forward_error(std::move(peer));
  if (bytes.size() > kPartBytes) return set_in_parts(**peer, bytes, options);
  Request request{.op = Op::kSet, .length = bytes.size(), .options = options};
  const auto timeout = cluster_.timeout(options.timeout_ms);
  request.timeout_ms = static_cast<std::uint32_t>(timeout.count());
  auto reply = (*peer)->session().call(std::move(request), Cluster::Clock::now() + timeout, bytes);
  if (!reply) return forward_error(std::move(reply));
  return reply->ref;
}

/// The owner reserves first, so that a blob it cannot take is refused before its bytes travel. An
/// unfinished draft ends with the commit that finds it so, or with the session.
Result<DRef> Remote::set_in_parts(Peer& peer, std::span<const std::byte> bytes,
                                  const SetOptions& options) {
  const auto timeout = cluster_.timeout(options.timeout_ms);
  const BlobId draft{.object = next_draft_.fetch_add(1)};
  const Request commit{.op = Op::kSetCommit, .blob = draft};
  Request begin{.op = Op::kSetBegin, .blob = draft, .length = bytes.size(), .options = options};
  begin.timeout_ms = static_cast<std::uint32_t>(timeout.count());
  auto begun = peer.session().call(std::move(begin), Cluster::Clock::now() + timeout);
  if (!begun) {
    // It may yet begin; the commit that follows it in order drops it.
    if (begun.error().code == Code::kTimeout) (void)peer.session().start(commit);
    return forward_error(std::move(begun));
  }
  Window window(peer.session(), timeout);
  for (std::size_t at = 0; at < bytes.size(); at += kPartBytes)
    if (!window.send({.op = Op::kSetChunk, .blob = draft},
                     bytes.subspan(at, std::min(kPartBytes, bytes.size() - at)), {}))
      break;
  auto sent = window.finish();
  auto reply = peer.session().call(commit, Cluster::Clock::now() + timeout);
  if (!sent) return forward_error(std::move(sent));
  if (!reply) return forward_error(std::move(reply));
  return reply->ref;
}

// ---- get ----

/// Room for a payload behind kHeaderRoomBytes. A length from outside must not wrap here.
Result<Buffer> Remote::take_buffer(std::uint64_t payload_bytes) {
  const auto room = std::min<std::uint64_t>(payload_bytes, transport::BufferPool::kMaxBytes);
  return cluster_.buffers().take(kHeaderRoomBytes + room);
}

/// The owner sends [offset, offset + bytes) of what `first` names, in parts.
Status Remote::push(Peer& peer, const Request& first, const Buffer& into, std::uint64_t bytes,
                    std::chrono::milliseconds timeout) {
  Window window(peer.session(), timeout);
  for (std::uint64_t at = 0; at < bytes; at += kPartBytes) {
    Request part = first;
    part.offset += at;
    part.length = std::min<std::uint64_t>(kPartBytes, bytes - at);
    const std::span<std::byte> place(into.data() + kHeaderRoomBytes + at, part.length);
    if (!window.send(std::move(part), {}, place)) break;
  }
  return window.finish();
}

/// One-sided where the hint, or a fresh one, leads; else the owner sends the bytes.
Result<Remote::Fetched> Remote::fetch(const DRef& ref, std::uint64_t offset, std::uint64_t bytes,
                                      const GetOptions& options) {
  const auto timeout = cluster_.timeout(options.timeout_ms);
  auto peer = owner(ref.id, timeout);
  if (!peer) return forward_error(std::move(peer));
  auto buffer = take_buffer(bytes);
  if (!buffer) return forward_error(std::move(buffer));

  // A fabric that swallows reads must leave time for the owner to send the bytes.
  const auto read_timeout = timeout / 3;
  const auto deadline = Cluster::Clock::now() + timeout;
  LocationHint hint = ref.hint;
  for (int tries = 0;; ++tries) {
    if ((*peer)->plausible(ref, hint) && (*peer)->provider()) {
      auto read = (*peer)->read(ref, hint, offset, bytes, *buffer, read_timeout);
      if (read && read->verdict == Verdict::kAccepted)
        return Fetched{std::move(*buffer), PathCounters::one_sided(*read->provider),
                       read->provider};
      if (!read && read.error().code == Code::kTimeout) {
        // Its bytes may still arrive in that buffer.
        buffer = take_buffer(bytes);
        if (!buffer) return forward_error(std::move(buffer));
        break;
      }
      if (!read && read.error().code != Code::kUnavailable) return forward_error(std::move(read));
    }
    if (tries == kLocateTries) break;
    auto located = locate(**peer, ref, options, deadline);
    if (!located) return forward_error(std::move(located));
    hint = *located;
    if (!(*peer)->plausible(ref, hint) || !(*peer)->provider()) break;
  }
  if (cluster_.options().require_rdma)
    return fail(Code::kUnavailable, "RDMA is required, and it did not bring the bytes");
  const Request first{.op = Op::kRead, .blob = ref.id, .offset = offset, .peek = !options.touch};
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Cluster::Clock::now());
  auto pushed = push(**peer, first, *buffer, bytes, bytes > kPartBytes ? timeout : left);
  if (!pushed) return forward_error(std::move(pushed));
  return Fetched{std::move(*buffer), Path::kPush, nullptr};
}

/// Where the owner says that the blob is now; no hint when only a file has it. Who insists on RDMA
/// has such a blob loaded first.
Result<LocationHint> Remote::locate(Peer& peer, const DRef& ref, const GetOptions& options,
                                    Cluster::Clock::time_point deadline) {
  for (const bool loaded : {false, true}) {
    auto located =
        peer.session().call({.op = Op::kLocate, .blob = ref.id, .peek = !options.touch}, deadline);
    if (!located) return forward_error(std::move(located));
    if (located->ref.length != ref.length)
      return fail(Code::kInvalidArgument, "the reference says " + std::to_string(ref.length) +
                                              " bytes, its blob has " +
                                              std::to_string(located->ref.length));
    const auto hint = located->ref.hint;
    if (hint.generation != 0 || loaded || !cluster_.options().require_rdma) return hint;
    auto loading = peer.session().call({.op = Op::kPrefetch, .blob = ref.id}, deadline);
    if (!loading) return forward_error(std::move(loading));
  }
  return LocationHint{};
}

Result<View> Remote::get(const DRef& ref, const GetOptions& options) {
  auto fetched = fetch(ref, 0, ref.length, options);
  if (!fetched) return forward_error(std::move(fetched));
  cluster_.counters().count(fetched->path, fetched->provider, ref.length);
  return view_of(std::move(fetched->buffer), ref.length, fetched->path);
}

Status Remote::read(const DRef& ref, std::uint64_t offset, std::span<std::byte> out,
                    const GetOptions& options) {
  auto fetched = fetch(ref, offset, out.size(), options);
  if (!fetched) return forward_error(std::move(fetched));
  cluster_.counters().count(fetched->path, fetched->provider, out.size());
  std::copy_n(fetched->buffer.data() + kHeaderRoomBytes, out.size(), out.data());
  return {};
}

Result<View> Remote::get_file(const FileRef& file, const GetOptions& options) {
  if (cluster_.options().require_rdma)
    return fail(Code::kUnavailable, "RDMA is required, and " + file.path +
                                        " is a file of another host: prefetch its blob instead");
  const auto timeout = cluster_.timeout(options.timeout_ms);
  auto peer = cluster_.peer(file.id.node, Cluster::Clock::now() + timeout);
  if (!peer) return forward_error(std::move(peer));
  auto buffer = take_buffer(file.length);
  if (!buffer) return forward_error(std::move(buffer));
  // An empty file is asked for all the same: it may be damaged or gone.
  if (file.length == 0) {
    auto reply = (*peer)->session().call({.op = Op::kReadFile, .file = file},
                                         Cluster::Clock::now() + timeout);
    if (!reply) return forward_error(std::move(reply));
  }
  Request first{.op = Op::kReadFile, .file = file};
  auto pushed = push(**peer, first, *buffer, file.length, timeout);
  if (!pushed) return forward_error(std::move(pushed));
  cluster_.counters().count(Path::kPush, nullptr, file.length);
  return view_of(std::move(*buffer), file.length, Path::kPush);
}

// ---- requests ----

Status Remote::remove(const DRef& ref) {
  auto reply = ask(ref.id, {.op = Op::kDelete});
  if (!reply) return forward_error(std::move(reply));
  return {};
}

Result<FileRef> Remote::to_disk(const DRef& ref, bool release) {
  auto reply = ask(ref.id, {.op = Op::kToDisk, .release = release});
  if (!reply) return forward_error(std::move(reply));
  return std::move(reply->file);
}

Status Remote::prefetch(const DRef& ref) {
  auto reply = ask(ref.id, {.op = Op::kPrefetch});
  if (!reply) return forward_error(std::move(reply));
  return {};
}

Result<DRef> Remote::adopt(const FileRef& file, const SetOptions& options) {
  auto peer = node_or_any(options.node);
  if (!peer) return forward_error(std::move(peer));
  auto reply = (*peer)->session().call({.op = Op::kAdopt, .options = options, .file = file},
                                       cluster_.deadline(options.timeout_ms));
  if (!reply) return forward_error(std::move(reply));
  return reply->ref;
}

Result<BlobInfo> Remote::inspect(const DRef& ref) {
  auto peer = owner(ref.id, cluster_.timeout(0));
  if (!peer) return forward_error(std::move(peer));
  auto reply = (*peer)->session().call({.op = Op::kInspect, .blob = ref.id}, cluster_.deadline());
  if (!reply) return forward_error(std::move(reply));
  BlobInfo info = std::move(reply->info);
  info.ref = reply->ref;
  const auto* provider = (*peer)->provider();
  info.path = info.ref.hint.generation != 0 && provider
                  ? path_name(PathCounters::one_sided(*provider), provider)
                  : path_name(Path::kPush);
  return info;
}

Result<Stats> Remote::stats(std::uint64_t node) {
  auto peer = node_or_any(node);
  if (!peer) return forward_error(std::move(peer));
  auto reply = (*peer)->session().call({.op = Op::kStats}, cluster_.deadline());
  if (!reply) return forward_error(std::move(reply));
  return std::move(reply->stats);
}

Result<std::vector<NodeInfo>> Remote::nodes() {
  auto peer = cluster_.any_peer(cluster_.deadline());
  if (!peer) return forward_error(std::move(peer));
  auto reply = (*peer)->session().call({.op = Op::kNodes}, cluster_.deadline());
  if (!reply) return forward_error(std::move(reply));
  return std::move(reply->nodes);
}

}  // namespace mempool
