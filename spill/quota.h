// The bytes that a node's files may take, counted exactly and reserved before anything is written.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <utility>

namespace mempool::spill {

/// Thread safety: any thread.
class Quota {
 public:
  /// `limit` 0: counts, refuses nothing.
  explicit Quota(std::uint64_t limit) noexcept : limit_(limit) {}

  bool reserve(std::uint64_t bytes) noexcept {
    std::uint64_t used = used_.load();
    do {
      if (limit_ != 0 && (used > limit_ || bytes > limit_ - used)) return false;
    } while (!used_.compare_exchange_weak(used, used + bytes));
    return true;
  }
  void release(std::uint64_t bytes) noexcept { used_ -= bytes; }
  std::uint64_t used() const noexcept { return used_; }
  std::uint64_t limit() const noexcept { return limit_; }

 private:
  const std::uint64_t limit_;
  std::atomic<std::uint64_t> used_{0};
};

/// Reserved bytes, given back unless somebody keeps them.
class Reservation {
 public:
  Reservation() = default;
  Reservation(std::shared_ptr<Quota> quota, std::uint64_t bytes) noexcept
      : quota_(std::move(quota)), bytes_(bytes) {}
  Reservation(Reservation&& other) noexcept = default;
  Reservation& operator=(Reservation&&) = delete;
  ~Reservation() {
    if (quota_) quota_->release(bytes_);
  }

  /// The bytes stay counted; whoever gets the quota gives them back. Null: there was none.
  std::shared_ptr<Quota> keep() noexcept { return std::move(quota_); }

 private:
  std::shared_ptr<Quota> quota_;
  std::uint64_t bytes_ = 0;
};

}  // namespace mempool::spill
