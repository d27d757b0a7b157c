// TimedMutex: a mutex for which one waits no longer than until a deadline, by std::unique_lock's
// constructor that takes one. Not recursive; who waits longest need not be next.
//
// std::timed_mutex is one too, but locks by a call (pthread_mutex_clocklock) that the thread
// sanitizer of g++ 12 does not see.
#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>

namespace mempool {

class TimedMutex {
 public:
  bool try_lock_until(std::chrono::steady_clock::time_point deadline) {
    std::unique_lock lock(mutex_);
    if (!free_.wait_until(lock, deadline, [this] { return !taken_; })) return false;
    taken_ = true;
    return true;
  }

  void unlock() {
    const std::lock_guard lock(mutex_);
    taken_ = false;
    free_.notify_one();
  }

 private:
  std::mutex mutex_;
  std::condition_variable free_;
  bool taken_ = false;
};

}  // namespace mempool
