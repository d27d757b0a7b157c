#include "transport/peer.h"

#include <algorithm>

#include <mempool/detail/blob_header.h>

#include "transport/address.h"
#include "transport/log.h"

namespace mempool::transport {
namespace {

constexpr int kTimeoutsToGiveUp = 3;

Status check_offers(const Hello& hello, const std::string& where) {
  for (const auto& offer : hello.providers)
    if (offer.keys.size() != hello.region_bytes.size() ||
        offer.bases.size() != hello.region_bytes.size())
      return fail(Code::kProtocol, where + " announced keys that do not fit its regions");
  return {};
}

}  // namespace

Result<std::shared_ptr<Peer>> Peer::connect(IoThread& io, Fabrics& fabrics,
                                            const AllowedPaths& paths, bool require_rdma,
                                            const std::string& host_port, const Hello& mine,
                                            Clock::time_point deadline,
                                            std::function<void()> lost) {
  auto where = parse_host_port(host_port);
  if (!where) return forward_error(std::move(where));
  auto session = Connection::connect(io, host_port, mine, deadline, std::move(lost));
  if (!session) return forward_error(std::move(session));
  std::shared_ptr<Peer> peer(new Peer(std::move(*session), io, fabrics, where->host, require_rdma));
  if (auto checked = check_offers(peer->hello(), host_port); !checked)
    return forward_error(std::move(checked));
  if (paths.shared_memory && !peer->hello().door.empty()) peer->attach(mine, deadline);
  Status opened;
  {
    std::lock_guard lock(peer->mutex_);
    opened = peer->open_next_route();
  }
  if (!opened && require_rdma) return forward_error(std::move(opened));
  return peer;
}

Peer::Peer(std::shared_ptr<Connection> session, IoThread& io, Fabrics& fabrics, std::string host,
           bool require_rdma)
    : session_(std::move(session)),
      recency_(io, *session_),
      fabrics_(fabrics),
      host_(std::move(host)),
      require_rdma_(require_rdma) {}

/// Without it the fabric serves.
void Peer::attach(const Hello& mine, Clock::time_point deadline) {
  using std::chrono::milliseconds;
  const auto left = std::chrono::ceil<milliseconds>(deadline - Clock::now());
  auto shared = SharedRegions::attach(hello().door, {mine.session_high, mine.session_low},
                                      hello().region_bytes, std::max(left, milliseconds(1)));
  if (!shared) return log().debug("{}: {}", host_, shared.error().to_string());
  shared_ = std::move(*shared);
}

Peer::~Peer() {
  session_->close();
  for (const auto& route : routes_) route->fabric->remove(route->address);
}

/// Takes the best provider that was not tried yet; without one, the route is null.
Status Peer::open_next_route() {
  std::string why = "it offers none that is allowed here";
  while (next_allowed_ < fabrics_.allowed().size()) {
    const Provider& provider = *fabrics_.allowed()[next_allowed_++];
    if (require_rdma_ && !provider.rdma) continue;
    const auto offer = std::ranges::find(hello().providers, provider.name, &ProviderOffer::name);
    if (offer == hello().providers.end()) continue;
    auto fabric = fabrics_.reach(provider, host_);
    auto address = fabric ? (*fabric)->insert(offer->address)
                          : Result<FabricAddress>(tl::unexpected(fabric.error()));
    if (!address) {
      why = address.error().message;
      log().warn("no {} to {}: {}", provider.name, host_, why);
      continue;
    }
    routes_.push_back(std::make_unique<Route>(*fabric, *address, *offer));
    route_ = routes_.back().get();
    return {};
  }
  route_ = nullptr;
  return fail(Code::kNoProvider, (require_rdma_ ? "RDMA is required, and there is none to "
                                                : "there is no provider to ") +
                                     host_ + ": " + why);
}

const Provider* Peer::provider() const noexcept {
  const Route* route = route_.load();
  return route ? &route->fabric->provider() : nullptr;
}

bool Peer::plausible(const DRef& ref, const LocationHint& hint) const noexcept {
  const auto& regions = hello().region_bytes;
  if (hint.generation == 0 || hint.region >= regions.size()) return false;
  const auto region = regions[hint.region];
  return hint.offset % alignof(BlobHeader) == 0 && hint.offset <= region &&
         region - hint.offset >= sizeof(BlobHeader) &&
         region - hint.offset - sizeof(BlobHeader) >= ref.length;
}

void Peer::give_up(const Route* failed, const Error& why) {
  // Many readers may fail at once: one of them moves on, and the others see where to.
  std::lock_guard lock(mutex_);
  if (route_.load() != failed) return;
  const auto name = failed->fabric->provider().name;
  (void)open_next_route();
  const auto* next = provider();
  log().warn("{} to {} failed ({}); now {}", name, host_, why.message,
             next ? next->name : "the owner sends the bytes");
}

Result<Peer::Read> Peer::start(const DRef& ref, const LocationHint& hint, std::uint64_t offset,
                               std::uint64_t bytes, const Buffer& into) {
  for (;;) {
    const Route* route = route_.load();
    if (!route) return fail(Code::kUnavailable, "no provider reaches " + host_);
    const RemoteBlob blob{{route->address, route->offer.bases[hint.region] + hint.offset,
                           route->offer.keys[hint.region]},
                          {ref.id.object, hint.generation, ref.length},
                          std::chrono::milliseconds(hello().read_window_ms)};
    auto read = VerifiedRead::start(*route->fabric, blob, offset, bytes, into);
    if (read) return Read(route, std::move(*read));
    if (read.error().code != Code::kUnavailable || !alive()) return forward_error(std::move(read));
    give_up(route, read.error());
  }
}

Result<Peer::Outcome> Peer::finish(Read read, std::chrono::milliseconds timeout) {
  auto verdict = read.read_.finish(timeout, session_->ended());
  const Route* route = read.route_;
  if (verdict) {
    route->timeouts_in_a_row.store(0, std::memory_order_relaxed);
    return Outcome{*verdict, &route->fabric->provider(), read.read_.late()};
  }
  // One read that stands still may be a peer that sleeps; several are a path that leads nowhere.
  // One that nobody had time for says nothing.
  const auto code = verdict.error().code;
  const bool still = code == Code::kTimeout && timeout > timeout.zero();
  const bool useless = (still && ++route->timeouts_in_a_row >= kTimeoutsToGiveUp) ||
                       (code == Code::kUnavailable && alive());
  if (useless) give_up(route, verdict.error());
  return forward_error(std::move(verdict));
}

Result<Peer::Outcome> Peer::read(const DRef& ref, const LocationHint& hint, std::uint64_t offset,
                                 std::uint64_t bytes, const Buffer& into,
                                 std::chrono::milliseconds timeout) {
  for (;;) {
    auto started = start(ref, hint, offset, bytes, into);
    if (!started) return forward_error(std::move(started));
    auto outcome = finish(std::move(*started), timeout);
    if (outcome || outcome.error().code != Code::kUnavailable || !alive()) return outcome;
  }
}

}  // namespace mempool::transport
