// Gets of a node's blobs on its own host, by shared memory: copied into a Buffer, beside a look-up
// in a hash map of this process and a copy; and shown in place, however large they are.
#include <cstdint>
#include <deque>
#include <string>
#include <vector>

#include <benchmark/benchmark.h>

#include <mempool/mempool.h>

#include "bare_cache.h"
#include "child.h"
#include "node.h"
#include "summary.h"
#include "support.h"
#include "timing.h"

namespace mempool::bench {
namespace {

constexpr int kCallsASample = 32;
constexpr std::size_t kDraws = 1 << 15;

/// Blobs of one size, the same in a node and in a map, and one order to ask for them.
class Blobs {
 public:
  Blobs(Pool& pool, std::size_t count, std::uint64_t bytes)
      : pool_(pool),
        buffer_(get_or_stop(pool.buffer(bytes))),
        all_(set_blobs(pool, count, bytes)),
        bare_(all_, bytes),
        asked_(drawn(all_, kDraws)) {}

  auto copy() {
    return [this, refs = Round(asked_)]() mutable {
      get_or_stop(pool_.poolget(refs.next(), buffer_));
      benchmark::DoNotOptimize(buffer_.bytes().data());
    };
  }
  auto bare_copy() {
    return [this, refs = Round(asked_)]() mutable {
      bare_.copy(refs.next(), buffer_.bytes());
      benchmark::ClobberMemory();
    };
  }
  auto view() {
    return [this, refs = Round(asked_)]() mutable {
      auto view = pool_.poolget(refs.next());
      if (!view) stop(view.error().to_string());
      if (view->path() != Path::kSharedMemory) stop("not shown in place");
      benchmark::DoNotOptimize(view->data());
    };
  }
  auto bare_find() {
    return [this, refs = Round(asked_)]() mutable {
      benchmark::DoNotOptimize(bare_.find(refs.next()));
    };
  }

 private:
  Pool& pool_;
  Buffer buffer_;
  const std::vector<DRef> all_;
  const BareCache bare_;
  const std::vector<DRef> asked_;
};

void add_copy(Blobs& blobs, std::uint64_t bytes, double most_ns, std::vector<Target>& targets) {
  const std::string ours = "get " + size_name(bytes) + " into a Buffer";
  const std::string bare = "look-up and copy of " + size_name(bytes);
  add_calls(bare, kCallsASample, blobs.bare_copy());
  add_calls(ours, kCallsASample, blobs.copy());
  targets.push_back(
      {ours + " : look-up and copy", {ours, "p50"}, {bare, "p50"}, Goal::kAddsAtMost, most_ns});
}

void add_view(Blobs& blobs, std::uint64_t bytes, std::vector<Target>& targets) {
  const std::string ours = "view of " + size_name(bytes);
  const std::string bare = "look-up of " + size_name(bytes);
  add_calls(bare, kCallsASample, blobs.bare_find());
  add_calls(ours, kCallsASample, blobs.view());
  targets.push_back({ours + " : look-up", {ours, "p50"}, {bare, "p50"}, Goal::kTakesAtMost, 1000});
}

int main_of_shared(int argc, char** argv) {
  const RunOptions run = parse_options(argc, argv);
  const ScratchDirectory directory;
  const Child node = start_node(directory.path(), {"--max-memsize", "1GiB"});
  Pool pool = client_of(node, "shared");
  std::deque<Blobs> sets;
  std::vector<Target> targets;
  add_copy(sets.emplace_back(pool, 10'000, 64), 64, 150, targets);
  add_copy(sets.emplace_back(pool, 10'000, 4 * kKiB), 4 * kKiB, 300, targets);
  for (const std::uint64_t bytes : {64 * std::uint64_t{1}, 4 * kKiB, 1 * kMiB, 64 * kMiB})
    add_view(sets.emplace_back(pool, 8, bytes), bytes, targets);
  targets.push_back({"view of 64 MiB : view of 64 B",
                     {"view of 64 MiB", "p50"},
                     {"view of 64 B", "p50"},
                     Goal::kNotSlower,
                     1.1});
  return run_and_report(run, targets);
}

}  // namespace
}  // namespace mempool::bench

int main(int argc, char** argv) {
  return mempool::bench::main_of_shared(argc, argv);
}
