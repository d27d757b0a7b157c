// What MemPool knows of libfabric's providers. The only place where a provider's name means
// anything.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <mempool/result.h>

namespace mempool::transport {

struct Provider {
  std::string_view name;         // as people write it and as peers announce it
  std::string_view fabric_name;  // what libfabric is asked for
  bool rdma;                     // one-sided in hardware (or in soft-RoCE)
  bool automatic;                // opened unless only others were asked for
  bool has_hosts;                // its endpoints are at a host's address
  bool loopback;                 // and that may be a loopback address
  std::uint32_t spin_us;         // how long a waiting thread polls before it blocks
};

/// A variable that libfabric reads from the environment when it starts. A user's own value wins.
struct ProviderSetting {
  const char* variable;
  const char* value;
};

/// What the providers need to be told before libfabric starts.
std::span<const ProviderSetting> provider_settings();

/// All that this version knows, best first: the order in which a peer's offers are tried.
std::span<const Provider> known_providers();

const Provider* find_provider(std::string_view name);

/// The names of providers that this machine can open now, best first.
std::vector<std::string> present_providers();

/// The providers to open for what the user asked for (nothing or "auto": all automatic ones), best
/// first. NoProvider when a named one is not known or not here, or RDMA is required and absent; the
/// message lists those present.
Result<std::vector<const Provider*>> choose_providers(std::vector<std::string> asked,
                                                      bool require_rdma);

}  // namespace mempool::transport
