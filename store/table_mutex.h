// TableMutex: the lock around the blob table, as cheap as it gets when nobody else wants it.
//
// It is held for some dozens of nanoseconds, and a get takes it once: the calls, owner and kind
// that std::mutex keeps would be a good part of that get. Who finds it held spins for about a
// microsecond and then sleeps in the kernel.
#pragma once

#include <atomic>
#include <cstdint>

namespace mempool::store {

class TableMutex {
 public:
  TableMutex() = default;
  TableMutex(const TableMutex&) = delete;
  TableMutex& operator=(const TableMutex&) = delete;

  void lock() noexcept {
    if (!try_lock()) [[unlikely]]
      lock_slowly();
  }
  bool try_lock() noexcept {
    std::uint32_t expected = kFree;
    return word_.compare_exchange_strong(expected, kHeld, std::memory_order_acquire,
                                         std::memory_order_relaxed);
  }
  void unlock() noexcept {
    if (word_.exchange(kFree, std::memory_order_release) == kWanted) [[unlikely]]
      wake_one();
  }

 private:
  static constexpr std::uint32_t kFree = 0;
  static constexpr std::uint32_t kHeld = 1;
  static constexpr std::uint32_t kWanted = 2;  // held, and somebody may sleep

  void lock_slowly() noexcept;
  void wake_one() noexcept;

  std::atomic<std::uint32_t> word_{kFree};
};

}  // namespace mempool::store
