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
                                            const std::string& host_port, const Hello& mine,
                                            bool require_rdma, Clock::time_point deadline,
                                            std::function<void()> lost) {
  auto where = parse_host_port(host_port);
  if (!where) return forward_error(std::move(where));
  auto session = Connection::connect(io, host_port, mine, deadline, std::move(lost));
  if (!session) return forward_error(std::move(session));
  std::shared_ptr<Peer> peer(new Peer(std::move(*session), fabrics, where->host, require_rdma));
  if (auto checked = check_offers(peer->hello(), host_port); !checked)
    return forward_error(std::move(checked));
  Status opened;
  {
    std::lock_guard lock(peer->mutex_);
    opened = peer->open_next_route();
  }
  if (!opened && require_rdma) return forward_error(std::move(opened));
  return peer;
}

Peer::Peer(std::shared_ptr<Connection> session, Fabrics& fabrics, std::string host,
           bool require_rdma)
    : session_(std::move(session)),
      fabrics_(fabrics),
      host_(std::move(host)),
      require_rdma_(require_rdma) {}

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
  return hint.offset <= region && region - hint.offset >= sizeof(BlobHeader) &&
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

Result<Peer::Outcome> Peer::read(const DRef& ref, const LocationHint& hint, std::uint64_t offset,
                                 std::uint64_t bytes, const Buffer& into,
                                 std::chrono::milliseconds timeout) {
  for (;;) {
    const Route* route = route_.load();
    if (!route) return fail(Code::kUnavailable, "no provider reaches " + host_);
    const RemoteBlob blob{{route->address, route->offer.bases[hint.region] + hint.offset,
                           route->offer.keys[hint.region]},
                          ref.id.object,
                          hint.generation,
                          ref.length,
                          std::chrono::milliseconds(hello().read_window_ms)};
    auto verdict = read_verified(*route->fabric, blob, offset, bytes, into, timeout);
    if (verdict) {
      route->timeouts_in_a_row.store(0, std::memory_order_relaxed);
      return Outcome{*verdict, &route->fabric->provider()};
    }
    // One read that stands still may be a peer that sleeps; several are a path that leads nowhere.
    if (verdict.error().code == Code::kTimeout && ++route->timeouts_in_a_row >= kTimeoutsToGiveUp)
      give_up(route, verdict.error());
    if (verdict.error().code != Code::kUnavailable || !alive())
      return forward_error(std::move(verdict));
    give_up(route, verdict.error());
  }
}

}  // namespace mempool::transport
