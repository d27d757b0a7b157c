// Gets of another process's blobs, beside raw one-sided reads over the same provider.
//
// The limit is read twice: from the blob's own memory in the same mempoold, which sleeps between
// reads as a node does, and from a bare target process that polls without a pause.
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <deque>
#include <memory>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include <benchmark/benchmark.h>

#include <mempool/detail/blob_header.h>
#include <mempool/mempool.h>

#include "child.h"
#include "raw_fabric.h"
#include "summary.h"
#include "support.h"
#include "transport/connection.h"
#include "transport/io_thread.h"

namespace mempool::bench {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::uint64_t kSizes[] = {64, 4 * kKiB, 64 * kKiB, 1 * kMiB};

/// RDMA devices have no loopback address: for them it is told where to listen.
std::string host() {
  const char* told = std::getenv("MEMPOOL_BENCH_HOST");
  return told ? told : "127.0.0.1";
}

Child start_node(const std::string& spill_directory, std::vector<std::string> more) {
  std::vector<std::string> command{MEMPOOL_DAEMON, "--listen", host() + ":0", "--insecure",
                                   "--log-level",  "error",    "--spill-dir", spill_directory};
  command.insert(command.end(), more.begin(), more.end());
  return Child(command);
}

const transport::Provider& named(const std::string& name) {
  const auto* provider = transport::find_provider(name);
  if (!provider) stop("there is no provider " + name);
  return *provider;
}

/// Times every call by itself, for the median and the throughput of one reader.
template <class Read>
void time_reads(benchmark::State& state, std::uint64_t bytes, Read read) {
  std::vector<double> nanoseconds;
  read();  // connects
  for (auto _ : state) {
    const auto start = Clock::now();
    read();
    const std::chrono::duration<double> taken = Clock::now() - start;
    state.SetIterationTime(taken.count());
    nanoseconds.push_back(taken.count() * 1e9);
  }
  const auto middle = nanoseconds.begin() + static_cast<std::ptrdiff_t>(nanoseconds.size() / 2);
  std::ranges::nth_element(nanoseconds, middle);
  state.counters["p50"] = *middle;
  double total = 0;
  for (const double one : nanoseconds) total += one;
  state.counters["bytes_per_second"] =
      static_cast<double>(bytes) * static_cast<double>(nanoseconds.size()) / (total * 1e-9);
}

/// One provider: a node that offers nothing else, a client of it, and two raw readers.
class Setup {
 public:
  Setup(const std::string& name, const ScratchDirectory& directory, const std::string& self)
      : provider(name),
        daemon(start_node((directory.path() / name).native(),
                          {"--provider", name, "--max-memsize", "64MiB"})),
        target({self, "--raw-target=" + name}),
        pool(get_or_stop(Pool::connect(daemon.word(1), client_options(name)))),
        reader(named(name), host(), transport::FabricUse::kConnect),
        buffer(2 * kMiB) {
    for (const auto bytes : kSizes) blobs.push_back(get_or_stop(pool.poolset(make_bytes(bytes))));
    reader.use_as_destination(buffer);
    ask_daemon_for_its_memory();
    target_peer = reader.insert(from_hex(target.value("address")));
    target_key = std::stoull(target.value("key"));
    target_base = std::stoull(target.value("base"));
    target.pause();
  }

  void get(benchmark::State& state, std::size_t index) {
    const DRef& blob = blobs[index];
    time_reads(state, blob.length, [&] {
      auto view = pool.poolget(blob);
      if (!view) stop(view.error().to_string());
      if (view->path() != Path::kTcp && view->path() != Path::kRdma) stop("not read one-sidedly");
      benchmark::DoNotOptimize(view->data());
    });
  }

  void raw_from_daemon(benchmark::State& state, std::size_t index) {
    const DRef& blob = blobs[index];
    const std::uint64_t address = daemon_base + blob.hint.offset + sizeof(BlobHeader);
    time_reads(state, blob.length, [&] {
      reader.read(daemon_peer, address, daemon_key, std::span(buffer).first(blob.length));
    });
  }

  void raw_from_target(benchmark::State& state, std::size_t index) {
    const Awake awake(&target);
    const std::uint64_t bytes = kSizes[index];
    time_reads(state, bytes, [&] {
      reader.read(target_peer, target_base, target_key, std::span(buffer).first(bytes));
    });
  }

  const std::string provider;
  Child daemon;
  Child target;
  Pool pool;
  std::vector<DRef> blobs;
  RawFabric reader;
  std::vector<std::byte> buffer;
  fi_addr_t daemon_peer = 0;
  std::uint64_t daemon_key = 0;
  std::uint64_t daemon_base = 0;
  fi_addr_t target_peer = 0;
  std::uint64_t target_key = 0;
  std::uint64_t target_base = 0;

 private:
  static ClusterOptions client_options(const std::string& provider) {
    ClusterOptions options;
    options.providers = {provider};
    return options;
  }

  void ask_daemon_for_its_memory() {
    transport::IoThread io;
    transport::Hello mine;
    mine.cluster = blobs.front().id.cluster;
    mine.session_low = 1;
    mine.lease_ms = 30'000;
    const auto session = get_or_stop(transport::Connection::connect(
        io, daemon.word(1), mine, Clock::now() + std::chrono::seconds(5), {}));
    const auto& offer = session->peer().providers.at(0);
    daemon_peer = reader.insert(offer.address);
    daemon_key = offer.keys.at(0);
    daemon_base = offer.bases.at(0);
  }
};

/// The best provider of this machine, the best without RDMA, and the last resort.
std::vector<std::string> providers_to_measure(const ScratchDirectory& directory) {
  const Child node = start_node((directory.path() / "probe").native(), {"--max-memsize", "1MiB"});
  std::vector<std::string> chosen;
  std::istringstream present(node.value("providers"));
  bool without_rdma = false;
  for (std::string name; std::getline(present, name, ',');) {
    const bool last = present.eof();
    const bool first_without_rdma = !without_rdma && !named(name).rdma;
    if (chosen.empty() || first_without_rdma || last) chosen.push_back(name);
    without_rdma = without_rdma || first_without_rdma;
  }
  return chosen;
}

void add(Setup& setup, std::size_t index, std::vector<Target>& targets) {
  const std::string what = size_name(kSizes[index]) + " over " + setup.provider;
  const std::string raw_daemon = "fi_read " + what + " from mempoold";
  const std::string raw_target = "fi_read " + what + " from bare target";
  const std::string get = "get " + what;
  const auto time = [&](const std::string& name, auto function) {
    benchmark::RegisterBenchmark(
        name.c_str(),
        [&setup, index, function](benchmark::State& state) { (setup.*function)(state, index); })
        ->UseManualTime()
        ->MinTime(0.2);
  };
  time(raw_daemon, &Setup::raw_from_daemon);
  time(get, &Setup::get);
  time(raw_target, &Setup::raw_from_target);
  const auto show = [&](const std::string& name, const std::string& limit, const char* counter) {
    targets.push_back({name, {get, counter}, {limit, counter}, Goal::kShown, 0});
  };
  show("p50 " + get + " : mempoold", raw_daemon, "p50");
  show("p50 " + get + " : bare target", raw_target, "p50");
  show("throughput " + get + " : mempoold", raw_daemon, "bytes_per_second");
  show("throughput " + get + " : bare target", raw_target, "bytes_per_second");
}

int main_of_remote(int argc, char** argv) {
  constexpr std::string_view kTargetFlag = "--raw-target=";
  if (argc == 2 && std::string_view(argv[1]).starts_with(kTargetFlag))
    serve_raw_target(named(std::string(argv[1]).substr(kTargetFlag.size())), host());

  const ScratchDirectory directory;
  const std::string self = std::filesystem::read_symlink("/proc/self/exe").native();
  std::deque<Setup> setups;
  std::vector<Target> targets;
  for (const auto& provider : providers_to_measure(directory)) {
    Setup& setup = setups.emplace_back(provider, directory, self);
    for (std::size_t index = 0; index < std::size(kSizes); ++index) add(setup, index, targets);
  }
  return run_and_report(argc, argv, targets);
}

}  // namespace
}  // namespace mempool::bench

int main(int argc, char** argv) {
  return mempool::bench::main_of_remote(argc, argv);
}
