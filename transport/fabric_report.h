// What the fabric of this machine can do, found out by doing it: a provider is opened, memory is
// registered, and read one-sidedly by this process from itself.
#pragma once

#include <chrono>
#include <cstddef>
#include <string>
#include <vector>

#include "transport/provider.h"

namespace mempool::transport {

struct ProviderReport {
  const Provider* provider;
  bool in_libfabric = false;  // compiled in
  std::string filter;         // FI_PROVIDER, by which a user leaves providers out; empty: not set
  Status works;
  std::chrono::nanoseconds read_time{};  // median of 64-byte reads; when it works
};

/// `host`: where a node would listen; empty: where the provider likes. `patience`: for each read;
/// the first one connects, for which soft-RoCE in an emulated machine takes seconds.
ProviderReport report_provider(const Provider& provider, const std::string& host,
                               std::chrono::steady_clock::duration patience);

/// Whether a fabric of this provider opens here for a peer at `host`.
Status can_reach(const Provider& provider, const std::string& host);

/// libfabric's version, such as "1.17".
std::string libfabric_version();

/// Payload bytes a packet of an RDMA device; 0 when libfabric does not know.
std::size_t active_mtu(const std::string& device);

}  // namespace mempool::transport
