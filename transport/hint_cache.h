// HintCache: where blobs are now whose references say something old.
//
// A reference is a value that nobody can correct, so what an owner answered is kept here: the next
// get of the blob is one round trip again. Direct-mapped, so that its size is bounded; most peers
// never have an entry, which a look-up sees without the lock.
//
// Thread safety: every call from any thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <vector>

#include <mempool/ref.h>

namespace mempool::transport {

class HintCache {
 public:
  static constexpr std::size_t kEntries = 8192;

  /// What was learnt of the object, else `hint`.
  LocationHint newer_than(const LocationHint& hint, std::uint64_t object) {
    if (!used_.load(std::memory_order_acquire)) [[likely]]
      return hint;
    std::lock_guard lock(mutex_);
    const Entry& entry = entries_[place(object)];
    return entry.object == object ? entry.hint : hint;
  }

  void learn(std::uint64_t object, const LocationHint& hint) {
    std::lock_guard lock(mutex_);
    if (entries_.empty()) entries_.resize(kEntries);
    entries_[place(object)] = {object, hint};
    used_.store(true, std::memory_order_release);
  }

 private:
  struct Entry {
    std::uint64_t object = 0;  // 0 is no object
    LocationHint hint;
  };
  static std::size_t place(std::uint64_t object) {
    constexpr std::uint64_t kMix = 0x9E3779B97F4A7C15ULL;
    return (object * kMix) >> 51;  // 13 bits
  }
  static_assert(kEntries == std::size_t{1} << 13);

  std::atomic<bool> used_{false};
  std::mutex mutex_;
  std::vector<Entry> entries_;
};

}  // namespace mempool::transport
