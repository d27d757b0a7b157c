// Quarantine: freed memory of the arena that a one-sided reader may still be reading.
//
// A queue in the order of death with a byte budget. What has waited long enough but is held in
// place by a reader stays aside until the reader lets go, which no wait brings about. Thread
// safety: none of its own; the store's table lock guards it.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <vector>

namespace mempool::store {

class Quarantine {
 public:
  /// Readers let go without a word: what they hold is looked at as often as this.
  static constexpr std::uint64_t kHeldEvery_ns = 10'000'000;

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

  /// Whether drain() would have something to look at.
  bool due(std::uint64_t now_ns) const {
    return (!held_.empty() && now_ns >= held_look_ns_) ||
           (!items_.empty() && now_ns >= items_.front().dead_ns + wait_ns_);
  }

  /// Gives back what readers let go, if it is time to look at that, and up to `at_most` items that
  /// have waited long enough, but for those that are `in_use(memory)`.
  template <class InUse, class GiveBack>
  void drain(std::uint64_t now_ns, std::size_t at_most, InUse in_use, GiveBack give_back) {
    const auto try_to_give_back = [&](const Item& item) {
      if (in_use(item.memory)) return false;
      bytes_ -= item.bytes;
      give_back(item);
      return true;
    };
    if (now_ns >= held_look_ns_) {
      held_look_ns_ = now_ns + kHeldEvery_ns;
      std::erase_if(held_, [&](const Item& item) {
        if (!try_to_give_back(item)) return false;
        held_bytes_ -= item.bytes;
        return true;
      });
    }
    for (; at_most != 0 && !items_.empty(); --at_most) {
      const Item item = items_.front();
      if (now_ns < item.dead_ns + wait_ns_) return;
      items_.pop_front();
      if (try_to_give_back(item)) continue;
      held_.push_back(item);
      held_bytes_ += item.bytes;
    }
  }

  bool empty() const { return items_.empty() && held_.empty(); }
  bool spent() const { return bytes_ > budget_bytes_; }
  /// Time alone gives something back, and in the end keeps the budget.
  bool worth_waiting() const { return !items_.empty() && held_bytes_ <= budget_bytes_; }
  std::uint64_t bytes() const { return bytes_; }
  std::uint64_t wait_ns() const { return wait_ns_; }
  /// When to look again, if that is worth waiting for.
  std::uint64_t next_look_ns() const {
    const std::uint64_t expiry = items_.front().dead_ns + wait_ns_;
    return held_.empty() ? expiry : std::min(expiry, held_look_ns_);
  }

 private:
  const std::uint64_t budget_bytes_;
  const std::uint64_t wait_ns_;
  std::uint64_t bytes_ = 0;       // of both
  std::uint64_t held_bytes_ = 0;  // of held_
  std::deque<Item> items_;
  std::vector<Item> held_;  // expired, in the order of expiry
  std::uint64_t held_look_ns_ = 0;
};

}  // namespace mempool::store
