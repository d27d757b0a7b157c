#include <algorithm>
#include <chrono>
#include <cstdio>
#include <thread>
#include <vector>

#include <mempool/mempool.h>

#include "api/programs/torture_blob.h"
#include "api/programs/torture_roles.h"

namespace mempool::torture {
namespace {

using Clock = std::chrono::steady_clock;

/// One thread of a reader.
class Reader {
 public:
  Reader(Board& board, Pool& pool, ReaderPart& part, std::uint64_t seed)
      : board_(board),
        plan_(board.plan),
        pool_(pool),
        part_(part),
        random_(seed),
        bytes_(plan_.largest) {}

  void run() {
    for (std::uint64_t steps = 0; !board_.stop.load(std::memory_order_relaxed); ++steps) {
      if (steps % kStepsPerLook == 0) drop_held(Clock::now());
      step();
    }
    drop_held(Clock::time_point::max());
  }

 private:
  static constexpr std::size_t kWorkingSet = 32;
  static constexpr std::uint64_t kStepsPerLook = 16;
  // Small beside the quarantine's budget: held memory counts in it.
  static constexpr std::size_t kHeldViews = 24;
  static constexpr std::uint64_t kHeldBytes = 4 << 20;

  struct Chosen {
    ChurnerPart* churner = nullptr;
    Handed handed;
  };
  struct Held {
    View view;
    Handed handed;
    Clock::time_point until;
  };

  void step() {
    Chosen& chosen = set_[random_.below(kWorkingSet)];
    if (!chosen.churner || random_.one_in(256)) renew(chosen);
    if (!chosen.churner) return std::this_thread::sleep_for(std::chrono::milliseconds(1));
    part_.reading_bytes.store(chosen.handed.ref.length, std::memory_order_relaxed);
    const auto done = read(chosen);
    part_.reading_bytes.store(0, std::memory_order_relaxed);
    if (!done) refused(chosen, done.error().code);
  }

  /// The newest mostly, as they are about to be deleted; some that are gone already.
  void renew(Chosen& chosen) {
    auto& churner = board_.churners[random_.below(plan_.owners)];
    const auto ago = random_.below(random_.one_in(4) ? ChurnerPart::kHanded : 8);
    if (const auto handed = churner.handed(ago)) chosen = {&churner, *handed};
  }

  // ---- reading ----

  Status read(const Chosen& chosen) {
    const auto kind = random_.below(8);
    const GetOptions options{.timeout_ms = kTimeout_ms, .touch = kind % 2 == 0};
    if (kind < 4) return view(chosen, options);
    const auto length = chosen.handed.ref.length;
    if (kind < 7) return copy(chosen, 0, length, part_.copies, options);
    const auto begin = random_.below(length + 1);
    return copy(chosen, begin, random_.below(length - begin + 1), part_.parts, options);
  }

  Status view(const Chosen& chosen, const GetOptions& options) {
    auto view = pool_.poolget(chosen.handed.ref, options);
    if (!view) return forward_error(std::move(view));
    part_.views.add();
    const auto path = view->path();
    part_.views_by_path[static_cast<std::size_t>(path)].add();
    if (view->size() != chosen.handed.ref.length) {
      wrong(chosen.handed, "a view of another length", 0);
      return {};
    }
    compare(view->bytes(), chosen.handed, 0, "a view");
    if (random_.one_in(4)) hold(std::move(*view), chosen.handed);
    return {};
  }

  Status copy(const Chosen& chosen, std::uint64_t begin, std::uint64_t length, Count& kind,
              const GetOptions& options) {
    const std::span<std::byte> out(bytes_.data(), length);
    if (auto copied = pool_.poolread(chosen.handed.ref, begin, out, options); !copied)
      return copied;
    kind.add();
    compare(out, chosen.handed, begin, "a copy");
    return {};
  }

  void refused(Chosen& chosen, Code code) {
    part_.refusals[static_cast<std::size_t>(code)].add();
    const auto& handed = chosen.handed;
    if (code == Code::kNotFound && !chosen.churner->may_be_gone(handed.number)) {
      part_.lost.add();
      std::fprintf(stderr, "NotFound, and nobody deletes it: %s\n", handed.ref.to_string().c_str());
    }
    if (code == Code::kUnavailable) std::this_thread::sleep_for(std::chrono::milliseconds(5));
    renew(chosen);
  }

  // ---- held views ----

  /// For longer than the quarantine, often.
  void hold(View view, const Handed& handed) {
    if (held_.size() >= kHeldViews) return;
    if (!held_.empty() && held_bytes_ + view.size() > kHeldBytes) return;
    const auto longest_us = std::uint64_t{4} * plan_.quarantine_ms * 1000;
    const auto until = Clock::now() + std::chrono::microseconds(random_.below(longest_us));
    held_bytes_ += view.size();
    held_.push_back({std::move(view), handed, until});
  }

  void drop_held(Clock::time_point now) {
    std::erase_if(held_, [&](const Held& held) {
      if (now < held.until) return false;
      compare(held.view.bytes(), held.handed, 0, "a view that was held");
      part_.held.add();
      held_bytes_ -= held.view.size();
      return true;
    });
  }

  // ---- comparing ----

  void compare(std::span<const std::byte> bytes, const Handed& handed, std::uint64_t offset,
               const char* what) {
    const BlobBytes expected(plan_.seed, handed.number, handed.ref.length);
    if (const auto at = expected.first_wrong(bytes, offset)) return wrong(handed, what, *at);
    part_.bytes.add(bytes.size());
  }

  void wrong(const Handed& handed, const char* what, std::uint64_t at) {
    if (part_.wrong.get() == 0) {
      const auto text = std::string(what) + " of blob " + std::to_string(handed.ref.id.object) +
                        " (number " + std::to_string(handed.number) + "), " +
                        std::to_string(handed.ref.length) + " bytes, is wrong from byte " +
                        std::to_string(at);
      part_.first_wrong.set(text);
    }
    part_.wrong.add();
  }

  Board& board_;
  const Plan& plan_;
  Pool& pool_;
  ReaderPart& part_;
  Random random_;
  std::vector<std::byte> bytes_;
  std::array<Chosen, kWorkingSet> set_;
  std::vector<Held> held_;
  std::uint64_t held_bytes_ = 0;
};

/// The node that it is told of may be starting just now.
Result<Pool> connect(const Board& board, std::uint32_t first) {
  ClusterOptions options;
  options.cluster = kCluster;
  options.providers = {board.plan.path.get()};
  options.timeout_ms = kTimeout_ms;
  const auto until = Clock::now() + std::chrono::milliseconds(2 * kTimeout_ms);
  for (std::uint32_t owner = first;; ++owner) {
    auto pool = Pool::connect(board.plan.addresses[owner % board.plan.owners].get(), options);
    if (pool || !is_expected(pool.error().code) || Clock::now() >= until || board.stop) return pool;
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
}

}  // namespace

Status read(Board& board, std::uint32_t reader, std::uint32_t life) {
  auto pool = connect(board, reader);
  if (!pool && board.stop) return {};
  if (!pool) return forward_error(std::move(pool));
  std::vector<std::thread> threads;
  for (std::uint32_t thread = 0; thread < board.plan.threads; ++thread)
    threads.emplace_back([&, thread] {
      const auto seed = Random::mix(board.plan.seed + (std::uint64_t{life} << 32) +
                                    (std::uint64_t{reader} << 16) + thread);
      Reader(board, *pool, board.readers[reader][thread], seed).run();
    });
  for (auto& thread : threads) thread.join();
  return {};
}

}  // namespace mempool::torture
