#include "api/remote.h"

#include <algorithm>
#include <filesystem>

#include "api/identity.h"
#include "api/remote_get.h"
#include "api/transfer.h"

namespace mempool {

using transport::Buffer;
using transport::Op;
using transport::Peer;
using transport::Reply;
using transport::Request;

namespace {

void drop_buffer(void* block, void*) noexcept {
  Buffer dropped(static_cast<transport::BufferBlock*>(block));
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
  if (bytes.size() > Transfer::kPartBytes) return set_in_parts(**peer, bytes, options);
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
  Transfer transfer(peer.session(), timeout);
  for (std::size_t at = 0; at < bytes.size(); at += Transfer::kPartBytes)
    if (!transfer.send({.op = Op::kSetChunk, .blob = draft},
                       bytes.subspan(at, std::min(Transfer::kPartBytes, bytes.size() - at)), {}))
      break;
  auto sent = transfer.finish();
  auto reply = peer.session().call(commit, Cluster::Clock::now() + timeout);
  if (!sent) return forward_error(std::move(sent));
  if (!reply) return forward_error(std::move(reply));
  return reply->ref;
}

// ---- get ----

Result<View> Remote::get(const DRef& ref, const GetOptions& options) {
  auto peer = owner(ref.id, cluster_.timeout(options.timeout_ms));
  if (!peer) return forward_error(std::move(peer));
  return RemoteGet(cluster_, std::move(*peer), ref, options).view();
}

Status Remote::read(const DRef& ref, std::uint64_t offset, std::span<std::byte> out,
                    const GetOptions& options) {
  auto peer = owner(ref.id, cluster_.timeout(options.timeout_ms));
  if (!peer) return forward_error(std::move(peer));
  return RemoteGet(cluster_, std::move(*peer), ref, options).copy(offset, out);
}

Result<View> Remote::get_file(const FileRef& file, const GetOptions& options) {
  if (cluster_.options().require_rdma)
    return fail(Code::kUnavailable, "RDMA is required, and " + file.path +
                                        " is a file of another host: prefetch its blob instead");
  const auto timeout = cluster_.timeout(options.timeout_ms);
  auto peer = cluster_.peer(file.id.node, Cluster::Clock::now() + timeout);
  if (!peer) return forward_error(std::move(peer));
  const auto room = std::min<std::uint64_t>(file.length, transport::BufferPool::kMaxBytes);
  auto buffer = cluster_.buffers().take(room);
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
  return View(bytes, Path::kPush, drop_buffer, buffer->release(), nullptr);
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
