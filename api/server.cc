#include "api/server.h"

#include <functional>
#include <map>
#include <mutex>

#include "api/identity.h"
#include "transport/frame.h"
#include "transport/recency_report.h"

namespace mempool {

using transport::error_reply;
using transport::Hello;
using transport::Op;
using transport::Reply;
using transport::Request;

namespace {

/// A result as the reply to a request: `fill` puts the value in.
template <class T, class Fill>
Reply reply_with(Result<T> result, Fill fill) {
  if (!result) return error_reply(result.error());
  Reply reply;
  fill(reply, *std::move(result));
  return reply;
}

Reply reply_with(Status status) {
  return status ? Reply{} : error_reply(status.error());
}

/// Bytes that stay in place until the reply is sent.
Reply reply_with_bytes(View view, std::span<const std::byte> bytes) {
  Reply reply;
  reply.payload = bytes;
  reply.held = std::move(view);
  return reply;
}

/// The part of a view that was asked for.
Reply reply_with_part(Result<View> view, const Request& request) {
  if (!view) return error_reply(view.error());
  const auto bytes = view->bytes();
  if (request.offset > bytes.size() || bytes.size() - request.offset < request.length ||
      request.length > transport::kMaxPayloadBytes)
    return error_reply({Code::kInvalidArgument, "the part is outside the blob of " +
                                                    std::to_string(bytes.size()) + " bytes"});
  return reply_with_bytes(std::move(*view), bytes.subspan(request.offset, request.length));
}

Reply reply_with_all(Result<View> view) {
  if (!view) return error_reply(view.error());
  const auto bytes = view->bytes();
  return reply_with_bytes(std::move(*view), bytes);
}

Status check_part(const Request& request) {
  if (request.length <= transport::kMaxPayloadBytes) return {};
  return fail(Code::kInvalidArgument,
              "a part may have " + std::to_string(transport::kMaxPayloadBytes) + " bytes");
}

/// A reader on this host maps the file itself, if it sees it.
transport::FileStamp stamp_of(const spill::File& file) {
  const auto stamp = file.verified();
  return {stamp.device, stamp.inode, stamp.size, stamp.modified_ns, stamp.changed_ns};
}

Reply reply_with_location(Result<Node::Located> located) {
  return reply_with(std::move(located), [](Reply& r, Node::Located found) {
    r.ref = found.ref;
    if (!found.file) return;
    r.file = found.file->ref();
    r.stamp = stamp_of(*found.file);
  });
}

class ServedSession final : public transport::SessionHandler {
 public:
  ServedSession(Server& server, Node& node, Cluster& cluster,
                std::shared_ptr<transport::RegionDoor> door, const transport::SessionId& id,
                std::string host)
      : server_(server),
        node_(node),
        cluster_(cluster),
        door_(std::move(door)),
        id_(id),
        host_(std::move(host)) {
    if (door_) door_->admit(id_);
  }
  ~ServedSession() override {
    if (door_) door_->dismiss(id_);
  }

  std::optional<Reply> handle_at_once(const Request& request) override;
  std::optional<std::size_t> file_to_check(const Request& request) override;
  Reply handle(Request& request) override;

 private:
  static constexpr std::size_t kMaxDrafts = 64;
  // A spilled blob that peers ask for as often as that moves to memory.
  static constexpr std::uint32_t kReadsToPromote = 2;

  /// A blob that this session brings; ends with it.
  struct Upload {
    std::mutex mutex;
    std::optional<store::Store::Draft> draft;  // none after a failure: its room is others'
    std::uint64_t length;
    Status status;  // the first part that failed

    void append(const Result<std::span<const std::byte>>& part);
  };

  Reply handle_blob(Request& request);
  Reply touch(const Request& request);
  Reply read_part(const Request& request);
  Reply locate(const Request& request);
  Reply set(const Request& request);
  Reply set_begin(const Request& request);
  Reply set_chunk(const Request& request);
  Reply set_pull(const Request& request);
  Reply set_source(const Request& request);
  Reply set_commit(const Request& request);
  Reply read_file(const Request& request);
  bool may_read(const FileRef& file) const;
  std::shared_ptr<Upload> upload(const BlobId& id);

  Server& server_;
  Node& node_;
  Cluster& cluster_;
  const std::shared_ptr<transport::RegionDoor> door_;
  const transport::SessionId id_;
  const std::string host_;               // that it comes from
  transport::Puller::SourcePtr source_;  // of the requests that come in order
  std::mutex mutex_;
  std::map<std::uint64_t, std::shared_ptr<Upload>> uploads_;
};

std::optional<Reply> ServedSession::handle_at_once(const Request& request) {
  switch (request.op) {
    case Op::kPing:
      return Reply{};
    case Op::kNodes: {
      Reply reply;
      reply.nodes = cluster_.membership().members();
      reply.nodes.insert(reply.nodes.begin(), server_.self());
      return reply;
    }
    case Op::kTouch:
      return touch(request);
    case Op::kLocate:
    case Op::kInspect:
    case Op::kRead:
      break;
    default:
      return std::nullopt;
  }
  if (auto same = check_identity(request.blob, node_.life()); !same)
    return error_reply(same.error());
  const auto object = request.blob.object;
  if (request.op == Op::kLocate) {
    auto located = node_.locate(object, !request.peek);
    const bool often = located && located->file && located->reads_from_file >= kReadsToPromote;
    if (often && server_.begin_promotion()) return std::nullopt;
    return reply_with_location(std::move(located));
  }
  if (request.op == Op::kInspect)
    return reply_with(node_.inspect({request.blob, 0, {}}), [](Reply& r, BlobInfo info) {
      r.ref = info.ref;
      r.info = std::move(info);
    });
  // A blob in the arena is never kept waiting by others that need the disk.
  auto view = node_.get_in_arena(object, !request.peek);
  if (!view) return std::nullopt;
  return reply_with_part(*std::move(view), request);
}

Reply ServedSession::handle(Request& request) {
  switch (request.op) {
    case Op::kSet:
      return set(request);
    case Op::kSetBegin:
      return set_begin(request);
    case Op::kSetChunk:
      return set_chunk(request);
    case Op::kSource:
      return set_source(request);
    case Op::kSetPull:
      return set_pull(request);
    case Op::kSetCommit:
      return set_commit(request);
    case Op::kReadFile:
      return read_file(request);
    case Op::kStats:
      return reply_with(server_.stats(), [](Reply& r, Stats stats) { r.stats = std::move(stats); });
    case Op::kAdopt:
      return reply_with(node_.adopt(request.file, request.options),
                        [](Reply& r, DRef ref) { r.ref = ref; });
    default:
      return handle_blob(request);
  }
}

Reply ServedSession::handle_blob(Request& request) {
  if (auto same = check_identity(request.blob, node_.life()); !same)
    return error_reply(same.error());
  const DRef ref{request.blob, request.length, {}};
  switch (request.op) {
    case Op::kRead:
      return read_part(request);
    case Op::kLocate:
      return locate(request);
    case Op::kDelete:
      return reply_with(node_.remove(ref));
    case Op::kToDisk:
      return reply_with(node_.to_disk(ref, request.release),
                        [](Reply& r, FileRef file) { r.file = std::move(file); });
    case Op::kPrefetch:
      return reply_with(node_.prefetch(ref));
    default:
      return error_reply({Code::kUnsupported, "this node does not know operation " +
                                                  std::to_string(static_cast<int>(request.op))});
  }
}

// ---- reads ----

/// One-sided reads that a peer reports. What is no object any more is no mistake of the peer's.
Reply ServedSession::touch(const Request& request) {
  constexpr std::size_t kIdBytes = sizeof(std::uint64_t);
  const auto& ids = request.payload;
  if (ids.size() % kIdBytes != 0)
    return error_reply({Code::kInvalidArgument, "a report names half a blob"});
  if (ids.size() > kIdBytes * transport::RecencyReport::kObjects)
    return error_reply({Code::kInvalidArgument, "a report names more blobs than it may"});
  for (std::size_t at = 0; at < ids.size(); at += kIdBytes) {
    std::uint64_t object = 0;
    for (std::size_t i = kIdBytes; i-- > 0;)
      object = object << 8 | std::to_integer<std::uint64_t>(ids[at + i]);
    node_.touch(object);
  }
  return {};
}

/// A spilled blob that is read again and again: from memory it is read without the node's doing.
/// That there is no room for it there is no error here.
Reply ServedSession::locate(const Request& request) {
  struct End {
    Server& server;
    ~End() { server.end_promotion(); }
  } const end{server_};
  (void)node_.prefetch({request.blob, 0, {}});
  return reply_with_location(node_.locate(request.blob.object, !request.peek));
}

Reply ServedSession::read_part(const Request& request) {
  const auto object = request.blob.object;
  if (auto fits = check_part(request); !fits) return error_reply(fits.error());
  if (auto view = node_.get_in_arena(object, !request.peek))
    return reply_with_part(*std::move(view), request);
  return reply_with_all(node_.read_from_file(object, request.offset, request.length));
}

// ---- sets ----

/// What is left of the peer's time when its request's turn comes, less some for the answer's way:
/// who sets must hear of a failure before it gives up.
Result<std::uint32_t> time_left_ms(const Request& request) {
  if (request.timeout_ms == 0) return 0;  // the node's own
  using std::chrono::milliseconds;
  const milliseconds given(request.timeout_ms - request.timeout_ms / 8);
  const auto left =
      std::chrono::ceil<milliseconds>(request.received + given - std::chrono::steady_clock::now());
  if (left.count() > 0) return static_cast<std::uint32_t>(left.count());
  return fail(Code::kTimeout, "the node was too busy to store the blob in time");
}

Reply ServedSession::set(const Request& request) {
  if (request.length != request.payload.size())
    return error_reply({Code::kProtocol, "a set carried another length than it said"});
  SetOptions options = request.options;
  const auto left_ms = time_left_ms(request);
  if (!left_ms) return error_reply(left_ms.error());
  options.timeout_ms = *left_ms;
  return reply_with(node_.set(request.payload, options), [](Reply& r, DRef ref) { r.ref = ref; });
}

Reply ServedSession::set_begin(const Request& request) {
  {
    std::lock_guard lock(mutex_);
    if (uploads_.size() >= kMaxDrafts)
      return error_reply({Code::kLimit, "a session may send " + std::to_string(kMaxDrafts) +
                                            " large blobs at once"});
  }
  const auto left_ms = time_left_ms(request);
  if (!left_ms) return error_reply(left_ms.error());
  auto draft = node_.begin(request.length, request.options, *left_ms);
  if (!draft) return error_reply(draft.error());
  auto begun = std::shared_ptr<Upload>(new Upload{{}, std::move(*draft), request.length, {}});
  std::lock_guard lock(mutex_);
  if (!uploads_.emplace(request.blob.object, std::move(begun)).second)
    return error_reply({Code::kProtocol, "a set was begun twice"});
  return {};
}

std::shared_ptr<ServedSession::Upload> ServedSession::upload(const BlobId& id) {
  std::lock_guard lock(mutex_);
  const auto found = uploads_.find(id.object);
  return found == uploads_.end() ? nullptr : found->second;
}

void ServedSession::Upload::append(const Result<std::span<const std::byte>>& part) {
  status = part ? draft->append(*part) : tl::unexpected(part.error());
  if (!status) draft.reset();
}

Reply ServedSession::set_chunk(const Request& request) {
  auto target = upload(request.blob);
  if (!target) return error_reply({Code::kProtocol, "a part came for no set that was begun"});
  std::lock_guard lock(target->mutex);
  if (target->status) target->append(std::span<const std::byte>(request.payload));
  return reply_with(target->status);
}

Reply ServedSession::set_source(const Request& request) {
  if (source_) return error_reply({Code::kProtocol, "a session has named its source already"});
  auto source = server_.puller().admit(request.source, request.length, host_);
  if (!source) return error_reply(source.error());
  source_ = std::move(*source);
  return {};
}

Reply ServedSession::set_pull(const Request& request) {
  auto target = upload(request.blob);
  if (!target) return error_reply({Code::kProtocol, "a part came for no set that was begun"});
  if (!source_) return error_reply({Code::kProtocol, "a part came from no source that was named"});
  std::lock_guard lock(target->mutex);
  if (!target->status) return error_reply(target->status.error());
  auto part = server_.puller().read(*source_, request.offset, request.length);
  target->append(part.map([&](const transport::Buffer& bytes) {
    return std::span<const std::byte>(bytes.data(), request.length);
  }));
  return reply_with(target->status);
}

Reply ServedSession::set_commit(const Request& request) {
  auto target = upload(request.blob);
  if (!target) return error_reply({Code::kProtocol, "a commit came for no set that was begun"});
  {
    std::lock_guard lock(mutex_);
    uploads_.erase(request.blob.object);
  }
  if (request.release) return {};
  std::lock_guard lock(target->mutex);
  if (!target->status) return error_reply(target->status.error());
  return reply_with(target->draft->commit(), [&](Reply& r, const store::Placed& placed) {
    r.ref = node_.ref_of(placed, target->length);
  });
}

// ---- files ----

/// Only files that this node wrote, in this life or an earlier one, and that are what they should
/// be: a peer cannot read anything else through it.
bool ServedSession::may_read(const FileRef& file) const {
  return file.id.cluster == node_.life().cluster && file.id.node == node_.life().node;
}

std::optional<std::size_t> ServedSession::file_to_check(const Request& request) {
  std::optional<FileRef> file;
  if (request.op == Op::kReadFile) {
    if (may_read(request.file)) file = node_.file_to_check(request.file);
  } else if (check_identity(request.blob, node_.life())) {
    file = node_.file_to_check(request.blob.object);
  }
  if (!file) return std::nullopt;
  return std::hash<std::string>()(file->path);
}

Reply ServedSession::read_file(const Request& request) {
  if (!may_read(request.file))
    return error_reply({Code::kNotFound, "the file was written by another node"});
  if (auto fits = check_part(request); !fits) return error_reply(fits.error());
  return reply_with_all(node_.read_from_file(request.file, request.offset, request.length));
}

}  // namespace

Server::Server(Node& node, Cluster& cluster, std::unique_ptr<transport::Listener> listener,
               std::unique_ptr<transport::RegionDoor> door)
    : node_(node),
      cluster_(cluster),
      puller_(cluster.fabrics(), cluster.buffers()),
      listener_(std::move(listener)),
      door_(std::move(door)),
      self_{cluster.hello().node,          cluster.hello().address,
            cluster.hello().incarnation,   true,
            cluster.fabrics().listening(), cluster.hello().bound} {
  listener_->serve(*this);
}

bool Server::begin_promotion() noexcept {
  constexpr int kAtOnce = 2;
  if (++promotions_ <= kAtOnce) return true;
  --promotions_;
  return false;
}

/// Workers that wait for room would keep the listener.
void Server::close() {
  node_.stop_waiting();
  listener_->close();
  puller_.close();
  if (door_) door_->close();
}

Result<transport::Accepted> Server::accept(const Hello& peer, const std::string& host) {
  const Hello& mine = cluster_.hello();
  if (peer.cluster != mine.cluster)
    return fail(Code::kWrongCluster, "this node belongs to cluster \"" +
                                         cluster_.options().cluster + "\", the peer to another");
  if (!peer.address.empty())
    cluster_.heard_of({peer.node, peer.address, peer.incarnation, false, {}});
  const transport::SessionId session{peer.session_high, peer.session_low};
  transport::Accepted accepted{
      mine, std::make_unique<ServedSession>(*this, node_, cluster_, door_, session, host)};
  accepted.hello.members = cluster_.membership().members();
  return accepted;
}

Result<Stats> Server::stats() {
  auto stats = node_.stats(0);
  if (stats) {
    stats->sessions = listener_->sessions();
    stats->requests_served = listener_->requests_served();
    stats->recency_reports = listener_->recency_reports();
    stats->retries = cluster_.counters().retries();
    stats->path_changes = cluster_.fabrics().path_changes();
  }
  return stats;
}

}  // namespace mempool
