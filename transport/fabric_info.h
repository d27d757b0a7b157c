// fi_getinfo with the hints that MemPool needs, and RAII for libfabric objects.
#pragma once

#include <memory>
#include <string>

#include <rdma/fabric.h>

#include <mempool/result.h>

#include "transport/provider.h"

namespace mempool::transport {

struct FiInfoDelete {
  void operator()(fi_info* info) const noexcept { fi_freeinfo(info); }
};
using FiInfo = std::unique_ptr<fi_info, FiInfoDelete>;

/// Closes any libfabric object, children before parents by order of declaration.
template <class T>
struct FidClose {
  void operator()(T* object) const noexcept { fi_close(&object->fid); }
};
template <class T>
using Fid = std::unique_ptr<T, FidClose<T>>;

enum class FabricUse {
  kListen,   // the host is this node's own address
  kConnect,  // the host is a peer's; the provider picks the local address that reaches it
};

/// What `provider` offers for reliable-datagram endpoints with one-sided reads; null when nothing.
/// An empty host leaves the address to the provider.
FiInfo query_provider(const Provider& provider, const std::string& host, FabricUse use);

}  // namespace mempool::transport
