// Quarantine: freed memory of the arena that a slow one-sided reader may still be reading.
//
// A queue in the order of death with a byte budget. Thread safety: none of its own; the store's
// table lock guards it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>

namespace mempool::store {

class Quarantine {
 public:
  struct Item {
    std::byte* memory;
    std::size_t bytes;
    std::uint64_t dead_ns;  // CLOCK_BOOTTIME, taken after the generation was changed
  };

  Quarantine(std::uint64_t budget_bytes, std::uint64_t wait_ns)
      : budget_bytes_(budget_bytes), wait_ns_(wait_ns) {}

  void push(const Item& item) {
    items_.push_back(item);
    bytes_ += item.bytes;
  }

  /// The oldest item, if it has waited long enough.
  std::optional<Item> pop_expired(std::uint64_t now_ns) {
    if (items_.empty() || now_ns < oldest_expiry_ns()) return std::nullopt;
    const Item item = items_.front();
    items_.pop_front();
    bytes_ -= item.bytes;
    return item;
  }

  bool empty() const { return items_.empty(); }
  bool spent() const { return bytes_ > budget_bytes_; }
  std::uint64_t bytes() const { return bytes_; }
  std::uint64_t wait_ns() const { return wait_ns_; }
  /// Not empty.
  std::uint64_t oldest_expiry_ns() const { return items_.front().dead_ns + wait_ns_; }

 private:
  const std::uint64_t budget_bytes_;
  const std::uint64_t wait_ns_;
  std::uint64_t bytes_ = 0;
  std::deque<Item> items_;
};

}  // namespace mempool::store
