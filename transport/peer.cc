#include "transport/peer.h"

#include <mempool/detail/blob_header.h>

#include "transport/log.h"

namespace mempool::transport {
namespace {

Status check_offers(const Hello& hello, const std::string& where) {
  for (const auto& offer : hello.providers)
    if (offer.keys.size() != hello.region_bytes.size() ||
        offer.bases.size() != hello.region_bytes.size())
      return fail(Code::kProtocol, where + " announced keys that do not fit its regions");
  return {};
}

}  // namespace

Result<std::shared_ptr<Peer>> Peer::connect(IoThread& io, Fabrics& fabrics,
                                            const AllowedPaths& paths, const ReadRules& rules,
                                            const std::string& host_port, const Hello& mine,
                                            Clock::time_point deadline,
                                            std::function<void()> lost) {
  auto session = Connection::connect(io, host_port, mine, deadline, std::move(lost));
  if (!session) return forward_error(std::move(session));
  std::shared_ptr<Peer> peer(new Peer(std::move(*session), io, fabrics, paths, rules));
  if (auto checked = check_offers(peer->hello(), host_port); !checked)
    return forward_error(std::move(checked));
  if (paths.shared_memory && !peer->hello().door.empty()) peer->attach(mine, deadline);
  auto opened = peer->routes_.open();
  if (!opened && rules.require_rdma) return forward_error(std::move(opened));
  return peer;
}

Peer::Peer(std::shared_ptr<Connection> session, IoThread& io, Fabrics& fabrics,
           const AllowedPaths& paths, const ReadRules& rules)
    : session_(std::move(session)),
      hello_(session_->peer()),
      ended_(session_->ended()),
      recency_(io, *session_),
      fabrics_(fabrics),
      host_(session_->host()),
      pulls_by_any_(paths.pull),
      window_(rules.reread ? 0 : hello().read_window_ms),
      routes_(fabrics, hello().providers, host_, rules.require_rdma) {}

/// Without it the fabric serves.
void Peer::attach(const Hello& mine, Clock::time_point deadline) {
  using std::chrono::milliseconds;
  const auto left = std::chrono::ceil<milliseconds>(deadline - Clock::now());
  auto shared = SharedRegions::attach(hello().door, {mine.session_high, mine.session_low},
                                      hello().region_bytes, std::max(left, milliseconds(1)));
  if (!shared && shared.error().code == Code::kNotFound)
    return log().debug("{}: {}", host_, shared.error().message);
  if (!shared)
    return log().warn("no shared memory of {} on this host: {}", host_, shared.error().message);
  shared_ = std::move(*shared);
}

Peer::~Peer() {
  session_->close();
}

const Provider* Peer::provider() const noexcept {
  const auto* route = routes_.current();
  return route ? &route->provider : nullptr;
}

bool Peer::readable(const DRef& ref, const LocationHint& hint) const noexcept {
  if (!shared_ && !routes_.any()) return false;
  const auto& regions = hello().region_bytes;
  if (hint.generation == 0 || hint.region >= regions.size()) return false;
  const auto region = regions[hint.region];
  return hint.offset % alignof(BlobHeader) == 0 && hint.offset <= region &&
         region - hint.offset >= sizeof(BlobHeader) &&
         region - hint.offset - sizeof(BlobHeader) >= ref.length;
}

std::optional<Peer::Read> Peer::start(const DRef& ref, const LocationHint& hint,
                                      std::uint64_t offset, std::uint64_t bytes,
                                      const Buffer& into) {
  auto* route = routes_.choose();
  if (!route) return std::nullopt;
  const RemoteBlob blob{{route->address, route->offer.bases[hint.region] + hint.offset,
                         route->offer.keys[hint.region]},
                        {ref.id.object, hint.generation, ref.length},
                        window_};
  return std::optional<Read>(std::in_place, *route, blob, offset, bytes, into);
}

Result<Peer::Outcome> Peer::finish(Read& read, std::chrono::milliseconds timeout) {
  auto verdict = read.read_.finish(timeout, ended_);
  auto& route = read.route_;
  if (verdict) {
    routes_.worked(route);
    return Outcome{*verdict, &route.provider, read.read_.late()};
  }
  const auto code = verdict.error().code;
  if (code == Code::kUnavailable && alive()) routes_.failed(route, verdict.error());
  if (code == Code::kTimeout)
    routes_.timed_out(route, verdict.error(), timeout, read.read_.bytes_at_once());
  return forward_error(std::move(verdict));
}

Result<Peer::Outcome> Peer::read(const DRef& ref, const LocationHint& hint, std::uint64_t offset,
                                 std::uint64_t bytes, const Buffer& into,
                                 std::chrono::milliseconds timeout) {
  for (;;) {
    auto started = start(ref, hint, offset, bytes, into);
    if (!started) return fail(Code::kUnavailable, "no provider reaches " + host_);
    auto outcome = finish(*started, timeout);
    if (outcome || outcome.error().code != Code::kUnavailable || !alive()) return outcome;
  }
}

// ---- large sets ----

Result<SourceMemory*> Peer::announce_source(const Routes::Route& route,
                                            Clock::time_point deadline) {
  auto source = fabrics_.source(route.fabric);
  if (!source) return forward_error(std::move(source));
  Request request{.op = Op::kSource, .length = SourceMemory::kBytes};
  request.source = std::move(source->offer);
  auto reply = session_->call(std::move(request), deadline);
  if (!reply) return forward_error(std::move(reply));
  return source->memory;
}

std::optional<SourceMemory::Slot> Peer::pull_slot(Clock::time_point deadline) {
  const auto* route = routes_.current();
  if (!route) return std::nullopt;
  // Shared memory means one host, and no fabric brings its bytes faster than a socket.
  if (!pulls_by_any_ && (!route->provider.pulls || shared_)) return std::nullopt;
  {
    std::lock_guard lock(source_mutex_);
    if (cannot_pull_) return std::nullopt;
    if (source_) return route == source_route_ ? source_->take() : std::nullopt;
    // Who comes while another announces it sends, rather than wait for longer than it may.
    if (std::exchange(announcing_, true)) return std::nullopt;
  }
  const auto announced = announce_source(*route, deadline);
  if (!announced) stop_pulling(announced.error());
  std::lock_guard lock(source_mutex_);
  announcing_ = false;
  if (!announced) return std::nullopt;
  source_ = *announced;
  source_route_ = route;
  return source_->take();
}

void Peer::stop_pulling(const Error& why) {
  std::lock_guard lock(source_mutex_);
  if (std::exchange(cannot_pull_, true) || !alive()) return;
  log().warn("{} cannot read large sets from here ({}); they are sent", host_, why.message);
}

}  // namespace mempool::transport
