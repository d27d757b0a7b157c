// Whether this process may lock memory, which RDMA needs: found out by doing it.
//
// Thread safety: any thread.
#pragma once

#include <cstdint>

namespace mempool::transport {

/// Why so many bytes may not be locked, as an errno; 0: they may. Nothing stays locked. The limit
/// counts for locking and for registering alike, each for itself, and neither counts it for who has
/// CAP_IPC_LOCK.
int lock_error(std::uint64_t bytes);

}  // namespace mempool::transport
