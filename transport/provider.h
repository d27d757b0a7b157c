// What MemPool knows of libfabric's providers. The only place where a provider's name means
// anything.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
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
  bool shares_locks;             // with its peers: who is killed may take one along
  bool pulls;                    // owners read large sets over it, rather than being sent them
  std::uint32_t spin_us;         // how long a waiting thread polls at least before it blocks
  std::size_t max_read_bytes =
      std::numeric_limits<std::size_t>::max();  // of one read; ours, beside
                                                // the provider's own limit
  std::size_t locks_bytes = 0;                  // for itself, beside regions and buffers
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

/// The ways by which a process may read the blobs of others; what none of them brings, the owner
/// sends on the control connection.
struct AllowedPaths {
  bool shared_memory = false;              // of owners on this host
  bool mapped_files = false;               // of owners whose spill files this process sees
  bool pull = false;                       // large sets by every provider, not where it pays only
  std::vector<const Provider*> providers;  // best first
  bool automatic = false;                  // all that work; else each of them has to
};

/// Names that stand beside those of providers where a user says which paths are allowed.
inline constexpr std::string_view kSharedMemoryName = "shared";
inline constexpr std::string_view kMappedFilesName = "files";
inline constexpr std::string_view kPushName = "push";  // nothing but the control connection
inline constexpr std::string_view kPullName = "pull";  // large sets, see AllowedPaths::pull

/// The paths for what the user asked for (nothing or "auto": all, with the automatic providers).
/// NoProvider when a named provider is not known or not here, or RDMA is required and absent; the
/// message lists those present. With RDMA required there is no other path.
Result<AllowedPaths> choose_paths(std::vector<std::string> asked, bool require_rdma);

}  // namespace mempool::transport
