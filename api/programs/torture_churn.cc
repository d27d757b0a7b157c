#include <algorithm>
#include <chrono>
#include <cmath>
#include <thread>
#include <vector>

#include <mempool/mempool.h>

#include "api/programs/torture_blob.h"
#include "api/programs/torture_roles.h"

namespace mempool::torture {
namespace {

class Churner {
 public:
  Churner(Board& board, std::uint32_t owner, Pool pool)
      : board_(board),
        plan_(board.plan),
        part_(board.churners[owner]),
        pool_(std::move(pool)),
        number_(owner),
        random_(plan_.seed + owner),
        bytes_(plan_.largest),
        spill_in_(plan_.path.get() == "files" ? 2 : 32) {}

  void run() {
    while (!board_.stop) step();
    if (auto stats = pool_.stats()) part_.evictions = stats->store.evictions;
  }

 private:
  static constexpr std::size_t kLive = 512;

  /// More than fits into memory, so that eviction spills as well.
  bool full() const {
    return live_.size() >= kLive ||
           (live_bytes_ > plan_.max_memsize + plan_.max_memsize / 4 && live_.size() > 2);
  }

  void step() {
    if (full() || (!live_.empty() && random_.one_in(3))) return remove_any();
    set();
    if (live_.empty()) return;
    if (random_.one_in(spill_in_)) count(part_.moves_to_disk, pool_.movetodisk(any().ref));
    if (random_.one_in(32)) count(part_.promotions, pool_.prefetch(any().ref));
  }

  const Handed& any() { return live_[random_.below(live_.size())]; }

  /// Small ones are many, and sizes of all orders occur.
  std::uint64_t next_length() {
    constexpr std::uint64_t kOrdinary = 16 << 10;
    const auto largest =
        random_.one_in(16) ? plan_.largest : std::clamp(kOrdinary, plan_.smallest, plan_.largest);
    const double u = random_.fraction();
    const auto smallest = static_cast<double>(plan_.smallest);
    const auto ratio = static_cast<double>(largest) / smallest;
    return std::min(static_cast<std::uint64_t>(smallest * std::pow(ratio, u * u * u)), largest);
  }

  void set() {
    const auto length = next_length();
    const std::span<std::byte> blob(bytes_.data(), length);
    number_ += kMaxOwners;
    BlobBytes(plan_.seed, number_, length).fill(blob);
    auto ref = pool_.poolset(blob, {.timeout_ms = kTimeout_ms});
    if (!count(part_.sets, ref)) return;
    part_.set_bytes.add(length);
    live_.push_back({*ref, number_});
    live_bytes_ += length;
    part_.hand_over(live_.back());
  }

  void remove_any() {
    const auto at = random_.below(live_.size());
    const Handed gone = live_[at];
    live_[at] = live_.back();
    live_.pop_back();
    live_bytes_ -= gone.ref.length;
    part_.condemn(gone.number);
    count(part_.deletes, pool_.pooldelete(gone.ref));
  }

  template <class T>
  bool count(Count& done, const Result<T>& result) {
    if (result) {
      done.add();
      return true;
    }
    part_.refusals[static_cast<std::size_t>(result.error().code)].add();
    if (result.error().code == Code::kUnavailable)
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    return false;
  }

  Board& board_;
  const Plan& plan_;
  ChurnerPart& part_;
  Pool pool_;
  std::uint64_t number_;
  Random random_;
  std::vector<std::byte> bytes_;
  const std::uint64_t spill_in_;
  std::vector<Handed> live_;
  std::uint64_t live_bytes_ = 0;
};

}  // namespace

Status churn(Board& board, std::uint32_t owner) {
  // It reads nothing: what it needs is the connection.
  auto pool = connect(board, owner, "push");
  if (!pool && board.stop) return {};
  if (!pool) return forward_error(std::move(pool));
  Churner(board, owner, std::move(*pool)).run();
  return {};
}

}  // namespace mempool::torture
