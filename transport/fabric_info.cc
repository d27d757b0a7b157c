#include "transport/fabric_info.h"

#include <cstdlib>
#include <cstring>
#include <mutex>

#include <rdma/fi_domain.h>
#include <rdma/fi_endpoint.h>

namespace mempool::transport {
namespace {

/// What providers read from the environment when they start; a user's own values win.
/// FI_UNIVERSE_SIZE: rxm sizes one completion queue by it (default 256), and soft-RoCE's limit is
/// reached above 127: fi_enable then fails with -FI_EINVAL.
/// FI_SOCKETS_PE_WAITTIME: for how many ms the threads of `sockets` spin before they sleep (default
/// 10). On a small machine they starve each other and everybody else: reads that take 0.2 ms
/// take 12.
void choose_provider_settings() {
  static std::once_flag once;
  std::call_once(once, [] {
    setenv("FI_UNIVERSE_SIZE", "64", /*overwrite=*/0);
    setenv("FI_SOCKETS_PE_WAITTIME", "0", /*overwrite=*/0);
  });
}

FiInfo make_hints(std::string_view provider) {
  FiInfo hints(fi_allocinfo());
  hints->caps = FI_RMA | FI_READ | FI_REMOTE_READ;
  hints->mode = FI_CONTEXT | FI_CONTEXT2;
  hints->ep_attr->type = FI_EP_RDM;
  hints->domain_attr->threading = FI_THREAD_SAFE;
  // Offered, not asked for: each provider grants the bits that it needs. Without them verbs
  // vanishes.
  hints->domain_attr->mr_mode = FI_MR_LOCAL | FI_MR_VIRT_ADDR | FI_MR_ALLOCATED | FI_MR_PROV_KEY;
  hints->fabric_attr->prov_name = strndup(provider.data(), provider.size());
  return hints;
}

}  // namespace

FiInfo query_provider(std::string_view provider, const std::string& host, FabricUse use) {
  choose_provider_settings();
  const FiInfo hints = make_hints(provider);
  // shm names its endpoints itself; an IP address means nothing to it.
  const bool by_host = !host.empty() && provider != "shm";
  const std::uint64_t flags = by_host && use == FabricUse::kListen ? FI_SOURCE : 0;
  const char* service = by_host && use == FabricUse::kConnect ? "1" : nullptr;
  fi_info* found = nullptr;
  const int status = fi_getinfo(FI_VERSION(1, 17), by_host ? host.c_str() : nullptr, service, flags,
                                hints.get(), &found);
  return FiInfo(status == 0 ? found : nullptr);
}

}  // namespace mempool::transport
