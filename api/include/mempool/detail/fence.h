// The two fences that one-sided readers and the owner of the memory rely on.
#pragma once

#include <atomic>

namespace mempool {

// ThreadSanitizer knows no fences. It sees one process only, and there the atomic operations beside
// the fences order what it can see.

/// What stands before it is seen by everybody before what stands behind it happens.
inline void full_fence() noexcept {
#ifndef __SANITIZE_THREAD__
  std::atomic_thread_fence(std::memory_order_seq_cst);
#endif
}

/// Loads before it are done before loads behind it.
inline void load_fence() noexcept {
#ifndef __SANITIZE_THREAD__
  std::atomic_thread_fence(std::memory_order_acquire);
#endif
}

}  // namespace mempool
