#include "transport/fabric_info.h"

#include <cstdlib>
#include <cstring>
#include <mutex>

#include <rdma/fi_domain.h>
#include <rdma/fi_endpoint.h>

#include "transport/address.h"

namespace mempool::transport {
namespace {

void choose_settings() {
  static std::once_flag once;
  std::call_once(once, [] {
    for (const auto& [variable, value] : provider_settings())
      setenv(variable, value, /*overwrite=*/0);
  });
}

FiInfo make_hints(const Provider& provider) {
  FiInfo hints(fi_allocinfo());
  hints->caps = FI_RMA | FI_READ | FI_REMOTE_READ;
  hints->mode = FI_CONTEXT | FI_CONTEXT2;
  hints->ep_attr->type = FI_EP_RDM;
  hints->domain_attr->threading = FI_THREAD_SAFE;
  // Offered, not asked for: each provider grants the bits that it needs, and one whose needs are
  // not offered vanishes.
  hints->domain_attr->mr_mode = FI_MR_LOCAL | FI_MR_VIRT_ADDR | FI_MR_ALLOCATED | FI_MR_PROV_KEY;
  hints->fabric_attr->prov_name = strndup(provider.fabric_name.data(), provider.fabric_name.size());
  return hints;
}

}  // namespace

FiInfo query_provider(const Provider& provider, const std::string& host, FabricUse use) {
  choose_settings();
  const FiInfo hints = make_hints(provider);
  const bool by_host = provider.has_hosts && !host.empty();
  if (by_host && !provider.loopback && is_loopback(host)) return nullptr;
  const std::uint64_t flags = by_host && use == FabricUse::kListen ? FI_SOURCE : 0;
  const char* service = by_host && use == FabricUse::kConnect ? "1" : nullptr;
  fi_info* found = nullptr;
  const int status = fi_getinfo(FI_VERSION(1, 17), by_host ? host.c_str() : nullptr, service, flags,
                                hints.get(), &found);
  return FiInfo(status == 0 ? found : nullptr);
}

}  // namespace mempool::transport
