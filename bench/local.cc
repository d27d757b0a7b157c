// Gets and sets inside one process, beside a hash map's find and beside malloc and memcpy.
#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <span>
#include <thread>
#include <unordered_map>
#include <vector>

#include <benchmark/benchmark.h>

#include <mempool/detail/blob_header.h>
#include <mempool/mempool.h>

#include "store/store.h"
#include "summary.h"
#include "support.h"
#include "timing.h"

namespace mempool::bench {
namespace {

constexpr std::uint64_t kLimit = 256 * kMiB;

Pool open_pool(const ScratchDirectory& directory, const char* name) {
  PoolOptions options;
  options.max_memsize = kLimit;
  options.spill_dir = (directory.path() / name).native();
  return get_or_stop(Pool::open(options));
}

// ---- get ----

constexpr std::size_t kBlobs = 10'000;
constexpr std::uint64_t kBlobBytes = 1 * kKiB;
constexpr std::size_t kDraws = 1 << 15;

/// What a cache that does nothing else would keep of a blob.
struct BareEntry {
  std::atomic<std::uint64_t> users{0};
  const std::byte* data = nullptr;
  std::uint64_t length = 0;
};

/// The same blobs in a pool, in a store and in a map, and the same order to ask for them: one row
/// of references for all. Where it is not said otherwise, the map's key is taken out of a reference
/// too.
class Gets {
 public:
  explicit Gets(const ScratchDirectory& directory)
      : pool(open_pool(directory, "gets")),
        store(get_or_stop(store::Store::create({.max_memsize = kLimit}, nullptr))) {
    const auto bytes = make_bytes(kBlobBytes);
    std::vector<DRef> blobs;
    std::vector<std::uint64_t> objects;
    for (std::size_t i = 0; i < kBlobs; ++i) {
      blobs.push_back(get_or_stop(pool.poolset(bytes)));
      objects.push_back(get_or_stop(store->set(bytes, {})).object);
      auto& entry = entries.emplace_back(std::make_unique<BareEntry>());
      map.emplace(blobs.back().id.object, entry.get());
    }
    for (const auto draw : random_draws(kDraws, kBlobs)) {
      refs.push_back(blobs[draw]);
      keys.push_back(blobs[draw].id.object);
      store_keys.push_back(objects[draw]);
    }
  }

  BareEntry& find(std::uint64_t key) {
    const auto found = map.find(key);
    if (found == map.end()) stop("the map lost a key");
    BareEntry& entry = *found->second;
    entry.users.fetch_add(1, std::memory_order_relaxed);
    benchmark::DoNotOptimize(entry.data);
    return entry;
  }

  Pool pool;
  std::unique_ptr<store::Store> store;
  std::unordered_map<std::uint64_t, BareEntry*> map;
  std::vector<std::unique_ptr<BareEntry>> entries;
  std::vector<DRef> refs;
  std::vector<std::uint64_t> keys;
  std::vector<std::uint64_t> store_keys;
};

template <class Key, class Get>
void get_views(benchmark::State& state, const std::vector<Key>& asked, Get get) {
  Round keys(asked);
  for (auto _ : state) {
    auto view = get(keys.next());
    if (!view) stop(view.error().to_string());
    benchmark::DoNotOptimize(view->data());
  }
}

void pool_get(benchmark::State& state, Gets& gets) {
  get_views(state, gets.refs, [&](const DRef& ref) { return gets.pool.poolget(ref); });
}

void store_get(benchmark::State& state, Gets& gets) {
  get_views(state, gets.store_keys, [&](std::uint64_t key) { return gets.store->get(key); });
}

/// The limit of the target: a find and an atomic increment; nothing is given back.
void map_find(benchmark::State& state, Gets& gets) {
  Round refs(gets.refs);
  for (auto _ : state) gets.find(refs.next().id.object);
}

/// The same with its keys in a dense row, eight bytes each: a program that keeps no references.
void map_find_dense(benchmark::State& state, Gets& gets) {
  Round keys(gets.keys);
  for (auto _ : state) gets.find(keys.next());
}

/// What ours does besides: the handle is dropped, which is a second atomic operation.
void map_find_and_drop(benchmark::State& state, Gets& gets) {
  Round refs(gets.refs);
  for (auto _ : state)
    gets.find(refs.next().id.object).users.fetch_sub(1, std::memory_order_acq_rel);
}

// ---- set ----

constexpr std::uint64_t kSetBytes = 4 * kKiB;
constexpr std::size_t kLive = kLimit / 4 / kSetBytes;

/// A quarter of a pool and as many blocks of malloc, each replaced often enough that no page is
/// new.
class Sets {
 public:
  explicit Sets(const ScratchDirectory& directory)
      : pool(open_pool(directory, "sets")), bytes(make_bytes(kSetBytes)) {
    for (std::size_t i = 0; i < kLive; ++i) {
      refs.push_back(get_or_stop(pool.poolset(bytes)));
      blocks.push_back(make_block());
    }
    for (int round = 0; round < 4; ++round) {
      for (const auto at : draws) {
        replace_blob(at);
        replace_block(at);
      }
    }
  }
  ~Sets() {
    for (std::byte* block : blocks) std::free(block);
  }
  Sets(const Sets&) = delete;
  Sets& operator=(const Sets&) = delete;

  void replace_blob(std::size_t at) {
    get_or_stop(pool.pooldelete(refs[at]));
    refs[at] = get_or_stop(pool.poolset(bytes));
  }
  void replace_block(std::size_t at) {
    std::free(blocks[at]);
    blocks[at] = make_block();
  }
  std::byte* make_block() const {
    auto* block = static_cast<std::byte*>(std::malloc(sizeof(BlobHeader) + kSetBytes));
    std::memcpy(block + sizeof(BlobHeader), bytes.data(), kSetBytes);
    return block;
  }

  Pool pool;
  const std::vector<std::byte> bytes;
  std::vector<DRef> refs;
  std::vector<std::byte*> blocks;
  const std::vector<std::uint32_t> draws = random_draws(kDraws, kLive);
};

void pool_replace(benchmark::State& state, Sets& sets) {
  Round replaced(sets.draws);
  for (auto _ : state) sets.replace_blob(replaced.next());
}

void malloc_replace(benchmark::State& state, Sets& sets) {
  Round replaced(sets.draws);
  for (auto _ : state) sets.replace_block(replaced.next());
}

/// The newest goes at once, so that allocator and cache have it at hand.
void pool_set_delete(benchmark::State& state, Sets& sets) {
  for (auto _ : state) {
    const DRef ref = get_or_stop(sets.pool.poolset(sets.bytes));
    get_or_stop(sets.pool.pooldelete(ref));
  }
}

void malloc_free(benchmark::State& state, Sets& sets) {
  for (auto _ : state) {
    std::byte* block = sets.make_block();
    benchmark::DoNotOptimize(block);
    benchmark::ClobberMemory();
    std::free(block);
  }
}

/// A second thread, asleep. Programs that share a pool have more than one, and in a process that
/// never had two, glibc's locks skip their atomic operations, which would flatter whatever uses
/// them.
class SecondThread {
 public:
  SecondThread() : thread_([this] { ended_.wait(false); }) {}
  ~SecondThread() {
    ended_ = true;
    ended_.notify_one();
    thread_.join();
  }
  SecondThread(const SecondThread&) = delete;
  SecondThread& operator=(const SecondThread&) = delete;

 private:
  std::atomic<bool> ended_{false};
  std::thread thread_;
};

// ---- overhead ----

void print_overhead() {
  const std::size_t kept = store::Store::overhead_bytes();
  std::printf(
      "bytes kept beside the payload of a blob in memory, without size-class rounding: %zu\n",
      kept);
  for (const std::uint64_t payload : {16, 64, 256, 1024, 4096}) {
    std::printf("  payload %5llu: %zu beside it, %.0f %%\n",
                static_cast<unsigned long long>(payload), kept,
                100.0 * static_cast<double>(kept) / static_cast<double>(payload));
  }
}

int main_of_local(int argc, char** argv) {
  const RunOptions run = parse_options(argc, argv);
  const SecondThread second;
  const ScratchDirectory directory;
  Gets gets(directory);
  Sets sets(directory);
  const auto time = [](const char* name, auto function, auto& fixture) {
    benchmark::RegisterBenchmark(name, [function, &fixture](benchmark::State& state) {
      function(state, fixture);
    })->MinTime(0.15);
  };
  time("find", map_find, gets);
  time("poolget", pool_get, gets);
  time("Store::get", store_get, gets);
  time("find and drop", map_find_and_drop, gets);
  time("find, dense keys", map_find_dense, gets);
  time("malloc, replace", malloc_replace, sets);
  time("poolset, replace", pool_replace, sets);
  time("malloc, free", malloc_free, sets);
  time("poolset, pooldelete", pool_set_delete, sets);

  print_overhead();
  return run_and_report(run,
                        {{"poolget in memory : find + increment",
                          {"poolget", ""},
                          {"find", ""},
                          Goal::kTimeAtMost,
                          3},
                         {"  Store::get alone", {"Store::get", ""}, {"find", ""}, Goal::kShown, 0},
                         {"  poolget : find + increment + decrement",
                          {"poolget", ""},
                          {"find and drop", ""},
                          Goal::kShown,
                          0},
                         {"  poolget : find of dense keys + increment",
                          {"poolget", ""},
                          {"find, dense keys", ""},
                          Goal::kShown,
                          0},
                         {"set 4 KiB, replacing any : malloc + memcpy",
                          {"poolset, replace", ""},
                          {"malloc, replace", ""},
                          Goal::kTimeAtMost,
                          3},
                         {"set 4 KiB, deleted at once : malloc + memcpy",
                          {"poolset, pooldelete", ""},
                          {"malloc, free", ""},
                          Goal::kTimeAtMost,
                          3}});
}

}  // namespace
}  // namespace mempool::bench

int main(int argc, char** argv) {
  return mempool::bench::main_of_local(argc, argv);
}
