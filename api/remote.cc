#include "api/remote.h"

#include <algorithm>
#include <deque>
#include <filesystem>
#include <optional>

#include <mempool/detail/forks.h>

#include "api/buffer_access.h"
#include "api/identity.h"
#include "api/remote_get.h"
#include "api/transfer.h"

namespace mempool {

using transport::Op;
using transport::Peer;
using transport::Reply;
using transport::Request;
using transport::SourceMemory;

namespace {

/// Sends the bytes to the draft.
Status send_to(transport::Connection& session, const BlobId& draft,
               std::span<const std::byte> bytes, std::chrono::milliseconds timeout) {
  Transfer transfer(session, timeout);
  for (std::size_t at = 0; at < bytes.size(); at += Transfer::kPartBytes) {
    const auto part = bytes.subspan(at, std::min(Transfer::kPartBytes, bytes.size() - at));
    if (!transfer.send({.op = Op::kSetChunk, .blob = draft}, part, {})) break;
  }
  return transfer.finish();
}

/// Has the owner read the bytes to the draft, out of the slot, which they pass through part by
/// part.
Status have_pulled(transport::Connection& session, const SourceMemory::Slot& slot,
                   const BlobId& draft, std::span<const std::byte> bytes,
                   std::chrono::milliseconds timeout) {
  constexpr auto kParts = SourceMemory::kPartsOfSlot;
  Transfer transfer(session, timeout, kParts);
  std::size_t part = 0;
  for (std::size_t at = 0; at < bytes.size(); at += transport::kPullPartBytes) {
    // With one fewer in flight the owner has read what stood in this part.
    if (!transfer.await_room()) break;
    const auto piece = bytes.subspan(at, std::min(transport::kPullPartBytes, bytes.size() - at));
    std::ranges::copy(piece, slot.part(part).begin());
    const Request pull{
        .op = Op::kSetPull, .blob = draft, .offset = slot.offset_of(part), .length = piece.size()};
    if (!transfer.send(pull, {}, {})) break;
    part = (part + 1) % kParts;
  }
  return transfer.finish();
}

Request set_request(std::span<const std::byte> bytes, const SetOptions& options,
                    std::chrono::milliseconds timeout) {
  Request request{.op = Op::kSet, .length = bytes.size(), .options = options};
  request.timeout_ms = static_cast<std::uint32_t>(timeout.count());
  return request;
}

/// The way that a get of the blob takes first.
std::string way_to(const Peer& peer, const transport::AllowedPaths& paths, const BlobInfo& info) {
  const bool in_arena = info.ref.hint.generation != 0;
  if (in_arena && peer.shared()) return path_name(Path::kSharedMemory);
  if (const auto* provider = peer.provider(); in_arena && provider)
    return path_name(PathCounters::one_sided(*provider), provider);
  std::error_code unseen;
  if (!in_arena && paths.mapped_files && std::filesystem::exists(info.file, unseen))
    return path_name(Path::kMappedFile);
  return path_name(Path::kPush);
}

}  // namespace

// ---- whom to ask ----

Result<Cluster::PeerPtr> Remote::owner(const BlobId& id, std::uint32_t timeout_ms) {
  const auto& mine = cluster_.hello();
  if (id.cluster != mine.cluster)
    return tl::unexpected(check_identity(id, {mine.cluster, 0, 0, 0}).error());
  Result<Cluster::PeerPtr> peer = cluster_.linked(id.node);
  if (!*peer) peer = cluster_.peer(id.node, cluster_.deadline(timeout_ms));
  if (!peer) return peer;
  const auto& life = (*peer)->hello();
  if (id.incarnation == life.incarnation) [[likely]]
    return peer;
  return tl::unexpected(check_identity(id, {life.cluster, life.node, life.incarnation, 0}).error());
}

Result<Cluster::PeerPtr> Remote::node_or_any(std::uint64_t node) {
  return node ? cluster_.peer(node, cluster_.deadline()) : cluster_.any_peer(cluster_.deadline());
}

Result<Reply> Remote::ask(const BlobId& id, Request request) {
  auto peer = owner(id, 0);
  if (!peer) return forward_error(std::move(peer));
  request.blob = id;
  return (*peer)->session().call(std::move(request), cluster_.deadline());
}

// ---- set ----

Result<DRef> Remote::set(std::span<const std::byte> bytes, const SetOptions& options) {
  auto peer = node_or_any(options.node);
  if (!peer) return forward_error(std::move(peer));
  if (bytes.size() > Transfer::kPartBytes) return set_in_parts(**peer, bytes, options);
  const auto timeout = cluster_.timeout(options.timeout_ms);
  auto reply = (*peer)->session().call(set_request(bytes, options, timeout),
                                       Cluster::Clock::now() + timeout, bytes);
  if (!reply) return forward_error(std::move(reply));
  return reply->ref;
}

/// The owner reserves first, so that a blob it cannot take is refused before its bytes travel. Then
/// `move` brings the bytes to the draft. One that failed is given up, or ends with the session.
template <class Move>
Result<DRef> Remote::upload(Peer& peer, std::uint64_t length, const SetOptions& options,
                            Move move) {
  const auto timeout = cluster_.timeout(options.timeout_ms);
  const BlobId draft{.object = next_draft_.fetch_add(1)};
  Request begin{.op = Op::kSetBegin, .blob = draft, .length = length, .options = options};
  begin.timeout_ms = static_cast<std::uint32_t>(timeout.count());
  const Request give_up{.op = Op::kSetCommit, .blob = draft, .release = true};
  auto begun = peer.session().call(std::move(begin), Cluster::Clock::now() + timeout);
  if (!begun) {
    // It may yet begin; what follows it in order drops it.
    (void)peer.session().start(give_up);
    return forward_error(std::move(begun));
  }
  if (auto moved = move(draft); !moved) {
    (void)peer.session().start(give_up);
    return forward_error(std::move(moved));
  }
  auto reply =
      peer.session().call({.op = Op::kSetCommit, .blob = draft}, Cluster::Clock::now() + timeout);
  if (!reply) {
    (void)peer.session().start(give_up);  // the commit may not have been sent
    return forward_error(std::move(reply));
  }
  return reply->ref;
}

/// The owner reads the bytes where that pays, and they are sent where it does not or cannot be
/// done.
Result<DRef> Remote::set_in_parts(Peer& peer, std::span<const std::byte> bytes,
                                  const SetOptions& options) {
  const auto timeout = cluster_.timeout(options.timeout_ms);
  if (auto slot = peer.pull_slot(Cluster::Clock::now() + timeout)) {
    Status pulled;
    auto ref = upload(peer, bytes.size(), options, [&](const BlobId& draft) {
      return pulled = have_pulled(peer.session(), *slot, draft, bytes, timeout);
    });
    const auto failure = pulled ? Code::kOk : pulled.error().code;
    if (failure == Code::kUnavailable || failure == Code::kTimeout)
      peer.stop_pulling(pulled.error());
    // Limit: the owner has enough to do for others. After a timeout there is no time left.
    const bool may_be_sent = failure == Code::kUnavailable || failure == Code::kLimit;
    if (!may_be_sent || !peer.alive()) return ref;
  }
  return upload(peer, bytes.size(), options, [&](const BlobId& draft) {
    return send_to(peer.session(), draft, bytes, timeout);
  });
}

/// Small ones travel one behind the other without waiting; the owner answers so many at a time.
std::vector<Result<DRef>> Remote::set_all(std::span<const std::span<const std::byte>> blobs,
                                          const SetOptions& options) {
  constexpr std::size_t kInFlight = 16;
  std::vector<Result<DRef>> refs;
  refs.reserve(blobs.size());
  auto peer = node_or_any(options.node);
  if (!peer) {
    refs.assign(blobs.size(), tl::unexpected(peer.error()));
    return refs;
  }
  const auto timeout = cluster_.timeout(options.timeout_ms);
  std::deque<transport::Connection::Call> calls;
  const auto collect = [&] {
    auto reply = calls.front().wait(Cluster::Clock::now() + timeout);
    calls.pop_front();
    refs.push_back(reply ? Result<DRef>(reply->ref) : tl::unexpected(reply.error()));
  };
  for (const auto& bytes : blobs) {
    const bool in_parts = bytes.size() > Transfer::kPartBytes;
    while (!calls.empty() && (in_parts || calls.size() == kInFlight)) collect();
    if (in_parts) {
      refs.push_back(set_in_parts(**peer, bytes, options));
    } else {
      calls.push_back((*peer)->session().start(set_request(bytes, options, timeout), bytes));
    }
  }
  while (!calls.empty()) collect();
  return refs;
}

// ---- get ----

Result<View> Remote::get(const DRef& ref, const GetOptions& options) {
  auto peer = owner(ref.id, options.timeout_ms);
  if (!peer) return forward_error(std::move(peer));
  return RemoteGet(cluster_, std::move(*peer), ref, options).view();
}

Status Remote::read(const DRef& ref, std::uint64_t offset, std::span<std::byte> out,
                    const GetOptions& options) {
  auto peer = owner(ref.id, options.timeout_ms);
  if (!peer) return forward_error(std::move(peer));
  return RemoteGet(cluster_, std::move(*peer), ref, options).copy(offset, out);
}

Status Remote::fill(const DRef& ref, Buffer& into, const GetOptions& options) {
  auto peer = owner(ref.id, options.timeout_ms);
  if (!peer) return forward_error(std::move(peer));
  RemoteGet get(cluster_, std::move(*peer), ref, options);
  auto block = BufferAccess::take(into);
  auto filled = get.fill(block);
  into = BufferAccess::wrap(std::move(block));
  return filled;
}

std::unique_ptr<PendingView::Work> Remote::start_get(const DRef& ref, const GetOptions& options) {
  struct Pending final : PendingView::Work {
    Result<View> finish() override {
      if (auto ours = check_process(forks); !ours) return forward_error(std::move(ours));
      if (!get) return forward_error(std::move(status));
      return get->finish();
    }
    const unsigned forks = current_forks();
    Status status;
    std::optional<RemoteGet> get;
  };
  auto pending = std::make_unique<Pending>();
  if (auto peer = owner(ref.id, options.timeout_ms)) {
    pending->get.emplace(cluster_, std::move(*peer), ref, options);
    pending->get->start();
  } else {
    pending->status = forward_error(std::move(peer));
  }
  return pending;
}

Result<View> Remote::get_file(const FileRef& file, const GetOptions& options) {
  if (cluster_.options().require_rdma)
    return fail(Code::kUnavailable, "RDMA is required, and " + file.path +
                                        " is a file of another host: prefetch its blob instead");
  const auto timeout = cluster_.timeout(options.timeout_ms);
  auto peer = cluster_.peer(file.id.node, Cluster::Clock::now() + timeout);
  if (!peer) return forward_error(std::move(peer));
  if (file.length > transport::BufferPool::kMaxBytes)
    return fail(Code::kLimit, file.path + " is said to have " + std::to_string(file.length) +
                                  " bytes, more than memory can have");
  auto buffer = cluster_.buffers().take(file.length);
  if (!buffer) return forward_error(std::move(buffer));
  const Request first{.op = Op::kReadFile, .file = file};
  // An empty file is asked for all the same: it may be damaged or gone.
  if (file.length == 0) {
    auto reply = (*peer)->session().call(first, Cluster::Clock::now() + timeout);
    if (!reply) return forward_error(std::move(reply));
  }
  const std::span<std::byte> bytes(buffer->data(), file.length);
  auto pushed = push_to((*peer)->session(), first, bytes, timeout);
  if (!pushed) return forward_error(std::move(pushed));
  cluster_.counters().count(Path::kPush, nullptr, file.length);
  return buffer_view(std::move(*buffer), bytes, Path::kPush);
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
  auto peer = owner(ref.id, 0);
  if (!peer) return forward_error(std::move(peer));
  auto reply = (*peer)->session().call({.op = Op::kInspect, .blob = ref.id}, cluster_.deadline());
  if (!reply) return forward_error(std::move(reply));
  BlobInfo info = std::move(reply->info);
  info.ref = reply->ref;
  info.path = way_to(**peer, cluster_.paths(), info);
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
