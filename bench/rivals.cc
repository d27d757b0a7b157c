// Gets beside GETs of memcached and redis: on one host, where ours are by shared memory and theirs
// over a Unix socket, and over TCP on loopback.
#include <cstdint>
#include <deque>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include <benchmark/benchmark.h>

#include <mempool/mempool.h>

#include "child.h"
#include "node.h"
#include "rival.h"
#include "summary.h"
#include "support.h"
#include "timing.h"

namespace mempool::bench {
namespace {

constexpr std::uint64_t kSizes[] = {64, 4 * kKiB, 64 * kKiB, 1 * kMiB};
constexpr std::uint64_t kSizeOfOneHost = 4 * kKiB;
constexpr std::size_t kBlobs = 64;  // of each size; a power of two
constexpr int kCallsASample = 32;
constexpr int kCallsATurn = 16;

std::vector<std::string> keys_of(std::uint64_t bytes) {
  std::vector<std::string> keys;
  for (std::size_t i = 0; i < kBlobs; ++i)
    keys.push_back(std::to_string(bytes) + "-" + std::to_string(i));
  return keys;
}

/// Blobs of one size, in our node and in a rival, asked for in turn.
struct Blobs {
  Blobs(Pool& pool, Pool& reader, std::uint64_t bytes)
      : by(reader),
        refs(set_blobs(pool, kBlobs, bytes)),
        keys(keys_of(bytes)),
        buffer(get_or_stop(reader.buffer(bytes))) {}

  auto get() {
    return [this, asked = Round(refs)]() mutable {
      get_or_stop(by.poolget(asked.next(), buffer));
      benchmark::DoNotOptimize(buffer.bytes().data());
    };
  }
  auto view() {
    return [this, asked = Round(refs)]() mutable {
      auto view = by.poolget(asked.next());
      if (!view) stop(view.error().to_string());
      benchmark::DoNotOptimize(view->data());
    };
  }
  auto get_from(Rival& rival) {
    return [&rival, asked = Round(keys)]() mutable { rival.get(asked.next()); };
  }

  Pool& by;
  const std::vector<DRef> refs;
  const std::vector<std::string> keys;
  Buffer buffer;
};

/// What is compared with one rival.
class Contest {
 public:
  using Start = std::unique_ptr<Rival> (*)(const std::filesystem::path&, Transport);

  Contest(const std::string& name, Start start, const std::filesystem::path& directory)
      : name_(name),
        nearby_(start(directory, Transport::kUnixSocket)),
        over_tcp_(nearby_ ? start(directory, Transport::kTcp) : nullptr) {}
  bool takes_part() const { return over_tcp_ != nullptr; }

  void add_on_one_host(Blobs& blobs, std::vector<Target>& targets) {
    fill(*nearby_, blobs, kSizeOfOneHost);
    const std::string theirs = name_ + " GET " + size_name(kSizeOfOneHost) + ", Unix socket";
    add_calls(theirs, 1, blobs.get_from(*nearby_));
    for (const std::string ours : {"get on one host", "view on one host"})
      targets.push_back(
          {ours + " : " + name_, {ours, "p50"}, {theirs, "p50"}, Goal::kSpeedAtLeast, 50});
  }

  void add_over_tcp(Blobs& blobs, std::uint64_t bytes, std::vector<Target>& targets) {
    fill(*over_tcp_, blobs, bytes);
    const std::string pair = "get " + size_name(bytes) + " over TCP : " + name_;
    add_pair(pair, kCallsATurn, blobs.get(), blobs.get_from(*over_tcp_));
    targets.push_back({pair, {pair, "ours"}, {pair, "limit"}, Goal::kNotSlower, 1});
  }

 private:
  static void fill(Rival& rival, const Blobs& blobs, std::uint64_t bytes) {
    const auto payload = make_bytes(bytes);
    for (const auto& key : blobs.keys) rival.set(key, payload);
  }

  const std::string name_;
  const std::unique_ptr<Rival> nearby_;
  const std::unique_ptr<Rival> over_tcp_;
};

int main_of_rivals(int argc, char** argv) {
  const RunOptions run = parse_options(argc, argv);
  const ScratchDirectory directory;
  const Child node = start_node(directory.path(), {"--max-memsize", "256MiB"});
  Pool by_memory = client_of(node, "shared");
  Pool by_tcp = client_of(node, best_tcp_provider(node));
  Blobs on_one_host(by_memory, by_memory, kSizeOfOneHost);
  std::deque<Blobs> over_tcp;
  for (const auto bytes : kSizes) over_tcp.emplace_back(by_memory, by_tcp, bytes);
  std::deque<Contest> contests;
  contests.emplace_back("memcached", start_memcached, directory.path());
  contests.emplace_back("redis", start_redis, directory.path());

  std::vector<Target> targets;
  add_calls("get on one host", kCallsASample, on_one_host.get());
  add_calls("view on one host", kCallsASample, on_one_host.view());
  for (auto& contest : contests) {
    if (!contest.takes_part()) continue;
    contest.add_on_one_host(on_one_host, targets);
    for (std::size_t i = 0; i < std::size(kSizes); ++i)
      contest.add_over_tcp(over_tcp[i], kSizes[i], targets);
  }
  return run_and_report(run, targets);
}

}  // namespace
}  // namespace mempool::bench

int main(int argc, char** argv) {
  return mempool::bench::main_of_rivals(argc, argv);
}
