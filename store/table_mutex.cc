#include "store/table_mutex.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace mempool::store {
namespace {

constexpr int kSpins = 40;

static_assert(sizeof(std::atomic<std::uint32_t>) == sizeof(std::uint32_t));

void relax() noexcept {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

}  // namespace

void TableMutex::lock_slowly() noexcept {
  for (int spin = 0; spin < kSpins; ++spin) {
    if (word_.load(std::memory_order_relaxed) == kFree && try_lock()) return;
    relax();
  }
  // Held as "wanted" from here on: who sleeps besides is not known, so that unlock() wakes one.
  while (word_.exchange(kWanted, std::memory_order_acquire) != kFree)
    ::syscall(SYS_futex, &word_, FUTEX_WAIT_PRIVATE, kWanted, nullptr, nullptr, 0);
}

void TableMutex::wake_one() noexcept {
  ::syscall(SYS_futex, &word_, FUTEX_WAKE_PRIVATE, 1, nullptr, nullptr, 0);
}

}  // namespace mempool::store
