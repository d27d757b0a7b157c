// Gets from a node that holds ten million small blobs, beside one that holds ten thousand.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

#include <benchmark/benchmark.h>
#include <sys/stat.h>
#include <unistd.h>

#include <mempool/mempool.h>

#include "bare_cache.h"
#include "child.h"
#include "node.h"
#include "summary.h"
#include "support.h"
#include "timing.h"

namespace mempool::bench {
namespace {

constexpr std::uint64_t kBytes = 64;
constexpr std::size_t kFew = 10'000;
constexpr std::size_t kMany = 10'000'000;
constexpr int kCallsInARow = 32;
constexpr const char* kNodeFlag = "--node";

std::filesystem::path pipe_in(const std::filesystem::path& directory) {
  return directory / "references";
}

/// What the process of a node does: it sets the blobs itself, because ten million requests of a
/// client take minutes, and writes the references to a pipe that the parent reads meanwhile.
[[noreturn]] void be_node(const std::filesystem::path& directory, std::size_t count) {
  PoolOptions options;
  options.listen = host() + ":0";
  options.insecure = true;
  options.spill_dir = directory.native();
  options.max_memsize = 2 * kGiB;
  Pool pool = get_or_stop(Pool::open(options));
  const auto self = pool.self();
  std::string providers;
  for (const auto& name : self.providers) providers += (providers.empty() ? "" : ",") + name;
  std::printf("ready %s providers=%s\n", self.address.c_str(), providers.c_str());
  std::fflush(stdout);
  std::ofstream pipe(pipe_in(directory), std::ios::binary);
  const auto payload = make_bytes(kBytes);
  for (std::size_t i = 0; i < count; ++i) {
    const DRef ref = get_or_stop(pool.poolset(payload));
    pipe.write(reinterpret_cast<const char*>(&ref), sizeof ref);
  }
  pipe.close();
  for (;;) ::pause();
}

Child start_node_of(const std::filesystem::path& directory, std::size_t count) {
  std::filesystem::create_directory(directory);
  if (::mkfifo(pipe_in(directory).c_str(), 0600) != 0) stop("no pipe in " + directory.native());
  return Child({std::filesystem::read_symlink("/proc/self/exe").native(), kNodeFlag,
                directory.native(), std::to_string(count)});
}

std::vector<DRef> references_of_node(const std::filesystem::path& directory, std::size_t count) {
  std::vector<DRef> refs(count);
  std::ifstream pipe(pipe_in(directory), std::ios::binary);
  const auto bytes = static_cast<std::streamsize>(count * sizeof(DRef));
  if (!pipe.read(reinterpret_cast<char*>(refs.data()), bytes)) stop("the node set too little");
  return refs;
}

/// A node with so many blobs, clients of it by both ways, the same blobs in a map, and an order to
/// ask for them in which most of a large number come up.
class Crowd {
  auto get(Pool& pool, Buffer& into) {
    return [&pool, &into, refs = Round(asked_)]() mutable {
      get_or_stop(pool.poolget(refs.next(), into));
      benchmark::DoNotOptimize(into.bytes().data());
    };
  }

 public:
  Crowd(const ScratchDirectory& directory, std::size_t count)
      : directory_(directory.path() / std::to_string(count)),
        node_(start_node_of(directory_, count)),
        by_memory_(client_of(node_, "shared")),
        by_tcp_(client_of(node_, best_tcp_provider(node_))),
        to_memory_(get_or_stop(by_memory_.buffer(kBytes))),
        to_tcp_(get_or_stop(by_tcp_.buffer(kBytes))),
        all_(references_of_node(directory_, count)),
        bare_(all_, kBytes),
        asked_(drawn(all_, count < (1 << 20) ? 1 << 15 : 1 << 22)) {
    const auto stats = get_or_stop(by_memory_.stats());
    if (stats.store.blobs_in_memory != count) stop("not all blobs are in memory");
    std::printf("a node with %zu blobs of %llu bytes: %.2f GiB resident, %.0f bytes a blob\n",
                count, static_cast<unsigned long long>(kBytes),
                static_cast<double>(stats.rss_bytes) / static_cast<double>(kGiB),
                static_cast<double>(stats.rss_bytes) / static_cast<double>(count));
    std::fflush(stdout);
  }

  auto get_by_tcp() { return get(by_tcp_, to_tcp_); }
  auto get_by_memory() { return get(by_memory_, to_memory_); }
  auto bare_copy() {
    return [this, refs = Round(asked_)]() mutable {
      bare_.copy(refs.next(), to_memory_.bytes());
      benchmark::ClobberMemory();
    };
  }

 private:
  const std::filesystem::path directory_;
  const Child node_;
  Pool by_memory_;
  Pool by_tcp_;
  Buffer to_memory_;
  Buffer to_tcp_;
  const std::vector<DRef> all_;
  const BareCache bare_;
  const std::vector<DRef> asked_;
};

// One at a time, as a program asks that uses what it gets, and in a row, where the processor begins
// the next look-ups of the map while it waits for memory.
constexpr const char* kInARow = ", in a row";

void add(Crowd& crowd, const std::string& of) {
  add_calls("get by TCP" + of, 1, crowd.get_by_tcp());
  for (const int calls : {1, kCallsInARow}) {
    const std::string how = of + (calls == 1 ? "" : kInARow);
    add_calls("look-up and copy" + how, calls, crowd.bare_copy());
    add_calls("get by shared memory" + how, calls, crowd.get_by_memory());
  }
}

int main_of_many(int argc, char** argv) {
  if (argc == 4 && std::string_view(argv[1]) == kNodeFlag)
    be_node(argv[2], std::strtoull(argv[3], nullptr, 10));
  constexpr std::string_view kBlobsFlag = "--blobs=";
  std::size_t count = kMany;
  if (argc > 1 && std::string_view(argv[1]).starts_with(kBlobsFlag)) {
    count = std::max<std::size_t>(1, std::strtoull(argv[1] + kBlobsFlag.size(), nullptr, 10));
    argv[1] = argv[0];
    ++argv;
    --argc;
  }
  const RunOptions run = parse_options(argc, argv);
  const ScratchDirectory directory;
  Crowd few(directory, kFew);
  Crowd many(directory, count);
  const std::string of_few = " of " + std::to_string(kFew);
  const std::string of_many = " of " + std::to_string(count);
  add(few, of_few);
  add(many, of_many);
  const auto p50 = [](const std::string& name) { return Measure{name, "p50"}; };
  const auto by_memory = [&](const std::string& of, Goal goal) {
    return Target{"get by shared memory" + of + " : look-up and copy",
                  p50("get by shared memory" + of), p50("look-up and copy" + of), goal, 1.3};
  };
  return run_and_report(
      run, {{"get by TCP" + of_many + " :" + of_few.substr(3), p50("get by TCP" + of_many),
             p50("get by TCP" + of_few), Goal::kTimeAtMost, 1.5},
            by_memory(of_many, Goal::kTimeAtMost),
            by_memory(of_few, Goal::kShown),
            by_memory(of_many + kInARow, Goal::kShown),
            by_memory(of_few + kInARow, Goal::kShown)});
}

}  // namespace
}  // namespace mempool::bench

int main(int argc, char** argv) {
  return mempool::bench::main_of_many(argc, argv);
}
