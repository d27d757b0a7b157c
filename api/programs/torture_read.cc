#include <algorithm>
#include <chrono>
#include <cstdio>
#include <map>
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

  static constexpr std::size_t kStarted = 4;

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
    read(Chosen(chosen));
    part_.reading_bytes.store(0, std::memory_order_relaxed);
  }

  /// The newest mostly, as they are about to be deleted; some that are gone already.
  void renew(Chosen& chosen) {
    auto& churner = board_.churners[random_.below(plan_.owners)];
    const auto ago = random_.below(random_.one_in(4) ? ChurnerPart::kHanded : 8);
    if (const auto handed = churner.handed(ago)) chosen = {&churner, *handed};
  }

  // ---- reading, in every way that a pool has ----

  void read(const Chosen& chosen) {
    const auto length = chosen.handed.ref.length;
    const auto way = random_.below(16);
    const GetOptions options{.timeout_ms = kTimeout_ms, .touch = random_.one_in(2)};
    if (way < 3) return saw(pool_.poolget(chosen.handed.ref, options), chosen);
    if (way == 3) return start(chosen, options);
    if (way < 8) return get_many(options);
    if (way < 10) return get_into_buffer(chosen, options);
    if (way < 14) return copy(chosen, 0, length, part_.copies, options);
    const auto begin = random_.below(length + 1);
    copy(chosen, begin, random_.below(length - begin + 1), part_.parts, options);
  }

  /// Waited for after some others were read; some are never waited for.
  void start(const Chosen& chosen, const GetOptions& options) {
    started_.push_back({pool_.poolget_async(chosen.handed.ref, options), chosen});
    if (started_.size() < kStarted) return;
    auto [pending, of] = std::move(started_.front());
    started_.erase(started_.begin());
    if (!random_.one_in(8)) saw(pending.wait(), of);
  }

  void get_many(const GetOptions& options) {
    std::vector<Chosen> chosen;
    std::vector<DRef> refs;
    std::uint64_t bytes = 0;
    for (const auto& one : set_) {
      if (!one.churner || bytes + one.handed.ref.length > plan_.largest) continue;
      bytes += one.handed.ref.length;
      chosen.push_back(one);
      refs.push_back(one.handed.ref);
    }
    auto views = pool_.poolget_all(refs, options);
    for (std::size_t i = 0; i < views.size(); ++i) saw(std::move(views[i]), chosen[i]);
  }

  void get_into_buffer(const Chosen& chosen, const GetOptions& options) {
    const auto length = chosen.handed.ref.length;
    if (buffer_.bytes().size() < length) {
      auto larger = pool_.buffer(plan_.largest);
      if (!larger) return refused(chosen, larger.error().code);
      buffer_ = std::move(*larger);
    }
    if (auto got = pool_.poolget(chosen.handed.ref, buffer_, options); !got)
      return refused(chosen, got.error().code);
    part_.buffers.add();
    compare(buffer_.bytes().first(length), chosen.handed, 0, "a Buffer");
  }

  void copy(const Chosen& chosen, std::uint64_t begin, std::uint64_t length, Count& kind,
            const GetOptions& options) {
    const std::span<std::byte> out(bytes_.data(), length);
    if (auto copied = pool_.poolread(chosen.handed.ref, begin, out, options); !copied)
      return refused(chosen, copied.error().code);
    kind.add();
    compare(out, chosen.handed, begin, "a copy");
  }

  void saw(Result<View> view, const Chosen& chosen) {
    if (!view) return refused(chosen, view.error().code);
    part_.views.add();
    part_.views_by_path[static_cast<std::size_t>(view->path())].add();
    if (view->size() != chosen.handed.ref.length)
      return wrong(chosen.handed, "the length of a view", 0);
    compare(view->bytes(), chosen.handed, 0, "a view");
    if (random_.one_in(4)) hold(std::move(*view), chosen.handed);
  }

  void refused(const Chosen& chosen, Code code) {
    part_.refusals[static_cast<std::size_t>(code)].add();
    const auto& handed = chosen.handed;
    if (code == Code::kNotFound && !chosen.churner->may_be_gone(handed.number)) {
      part_.lost.add();
      std::fprintf(stderr, "NotFound, and nobody deletes it: %s\n", handed.ref.to_string().c_str());
    }
    if (code == Code::kUnavailable) std::this_thread::sleep_for(std::chrono::milliseconds(5));
    for (auto& one : set_)
      if (one.churner && one.handed.number == handed.number) renew(one);
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
  Buffer buffer_;
  std::vector<std::pair<PendingView, Chosen>> started_;
  std::vector<Held> held_;
  std::uint64_t held_bytes_ = 0;
};

/// What the pool counts of retries, as far as the board does not have it yet.
class Retries {
 public:
  Retries(const Pool& pool, RetryPart& part) : pool_(pool), part_(part) {}
  void publish() {
    for (const auto& [reason, count] : pool_.local_stats().retries)
      part_.add(reason, count - std::exchange(published_[reason], count));
  }

 private:
  const Pool& pool_;
  RetryPart& part_;
  std::map<std::string, std::uint64_t> published_;
};

}  // namespace

Status read(Board& board, std::uint32_t reader, std::uint32_t life) {
  auto pool = connect(board, reader, board.plan.path.get());
  if (!pool && board.stop) return {};
  if (!pool) return forward_error(std::move(pool));
  std::vector<std::thread> threads;
  for (std::uint32_t thread = 0; thread < board.plan.threads; ++thread)
    threads.emplace_back([&, thread] {
      const auto seed = Random::mix(board.plan.seed + (std::uint64_t{life} << 32) +
                                    (std::uint64_t{reader} << 16) + thread);
      Reader(board, *pool, board.readers[reader][thread], seed).run();
    });
  Retries retries(*pool, board.retries[reader]);
  while (!board.stop) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    retries.publish();
  }
  for (auto& thread : threads) thread.join();
  retries.publish();
  return {};
}

}  // namespace mempool::torture
