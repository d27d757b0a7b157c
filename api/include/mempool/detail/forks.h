// How often this process is a fork of the one that loaded the library: what was made before belongs
// to the parent. Cheaper to look at than getpid().
#pragma once

#include <atomic>

#include <mempool/result.h>

namespace mempool {

extern std::atomic<unsigned> forks;

inline unsigned current_forks() noexcept {
  return forks.load(std::memory_order_relaxed);
}

/// Forked where what was made with that many forks is another process's.
inline Status check_process(unsigned forks_when_made) {
  if (current_forks() == forks_when_made) [[likely]]
    return {};
  return fail(Code::kForked, "this pool belongs to the parent process: open one in the child");
}

}  // namespace mempool
