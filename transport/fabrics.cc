#include "transport/fabrics.h"

#include <algorithm>

#include "transport/address.h"
#include "transport/log.h"

namespace mempool::transport {
namespace {

ProviderOffer offer_of(const Fabric& fabric) {
  return {std::string(fabric.provider().name), fabric.address(), {}, {}};
}

}  // namespace

Status Fabrics::listen(const std::string& host, std::span<const std::span<std::byte>> regions,
                       bool all_required) {
  std::lock_guard lock(mutex_);
  for (const Provider* provider : allowed_) {
    auto fabric = Fabric::listen(*provider, host);
    Status status = fabric ? Status{} : Status(tl::unexpected(fabric.error()));
    if (status) {
      Open opened(is_loopback(host), std::move(*fabric));
      for (const auto& region : regions) {
        auto exposed = opened.fabric->expose(region);
        if (!exposed) {
          status = forward_error(std::move(exposed));
          break;
        }
        opened.regions.push_back(std::move(*exposed));
      }
      opened.offered = true;
      if (status) open_.push_back(std::move(opened));
    }
    if (status && provider->shares_locks)
      log().warn("provider {} is for trying it out: a process that is killed may stop its peers",
                 provider->name);
    if (status) continue;
    if (all_required) return status;
    log().warn("provider {} is left out: {}", provider->name, status.error().to_string());
  }
  return {};
}

std::vector<ProviderOffer> Fabrics::offers() const {
  std::lock_guard lock(mutex_);
  std::vector<ProviderOffer> offers;
  for (const auto& open : open_) {
    if (!open.offered) continue;
    auto& offer = offers.emplace_back(offer_of(*open.fabric));
    for (const auto& region : open.regions) {
      offer.keys.push_back(region->key());
      offer.bases.push_back(region->base());
    }
  }
  return offers;
}

std::vector<std::string> Fabrics::listening() const {
  std::lock_guard lock(mutex_);
  std::vector<std::string> names;
  for (const auto& open : open_)
    if (open.offered) names.emplace_back(open.fabric->provider().name);
  return names;
}

bool Fabrics::listening_with_rdma() const {
  std::lock_guard lock(mutex_);
  return std::ranges::any_of(
      open_, [](const Open& open) { return open.offered && open.fabric->provider().rdma; });
}

Fabric* Fabrics::listening_over(std::string_view provider) const {
  std::lock_guard lock(mutex_);
  for (const auto& open : open_)
    if (open.offered && open.fabric->provider().name == provider) return open.fabric.get();
  return nullptr;
}

Result<Fabrics::Source> Fabrics::source(const Fabric& fabric) {
  std::lock_guard lock(mutex_);
  const auto open = std::ranges::find(open_, &fabric, [](const Open& o) { return o.fabric.get(); });
  if (!open->source_region) {
    auto memory = SourceMemory::make();
    if (!memory) return forward_error(std::move(memory));
    auto region = open->fabric->expose((*memory)->bytes());
    if (!region) return forward_error(std::move(region));
    open->source = std::move(*memory);
    open->source_region = std::move(*region);
  }
  auto offer = offer_of(fabric);
  offer.keys.push_back(open->source_region->key());
  offer.bases.push_back(open->source_region->base());
  return Source{open->source.get(), std::move(offer)};
}

Result<Fabric*> Fabrics::reach(const Provider& provider, const std::string& peer_host) {
  const bool loopback = is_loopback(peer_host);
  std::lock_guard lock(mutex_);
  for (const auto& open : open_)
    if (&open.fabric->provider() == &provider && open.loopback == loopback)
      return open.fabric.get();
  auto fabric = Fabric::connect(provider, peer_host);
  if (!fabric) return forward_error(std::move(fabric));
  open_.emplace_back(loopback, std::move(*fabric));
  return open_.back().fabric.get();
}

}  // namespace mempool::transport
