// store/blob_memory.cc, whose quarantine may leave something out: the wait, or the look at the
// readers' slots.
#include "sabotage.h"
#include "store/store_state.h"

namespace mempool::sabotage {

/// What blob_memory.cc does with the quarantine.
struct HastyQuarantine {
  store::Quarantine& whole;

  void push(store::Quarantine::Item item) {
    if (leaves_out("quarantine")) item.dead_ns = 0;  // died when the machine was started
    whole.push(item);
  }
  bool empty() const { return whole.empty(); }
  std::uint64_t wait_ns() const { return whole.wait_ns(); }
  bool due(std::uint64_t now_ns) const { return whole.due(now_ns); }

  template <class InUse, class GiveBack>
  void drain(std::uint64_t now_ns, std::size_t at_most, InUse in_use, GiveBack give_back) {
    const auto seen = [&](const std::byte* memory) {
      return !leaves_out("slots") && in_use(memory);
    };
    whole.drain(now_ns, at_most, seen, give_back);
  }
};

}  // namespace mempool::sabotage

#define quarantine            \
  sabotage::HastyQuarantine { \
    quarantine                \
  }
#include "store/blob_memory.cc"
