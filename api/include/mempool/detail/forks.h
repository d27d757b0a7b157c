// How often this process is a fork of the one that loaded the library: what was made before belongs
// to the parent. Cheaper to look at than getpid().
#pragma once

#include <atomic>

namespace mempool {

extern std::atomic<unsigned> forks;

inline unsigned current_forks() noexcept {
  return forks.load(std::memory_order_relaxed);
}

}  // namespace mempool
