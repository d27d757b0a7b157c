// Gets of another process's blobs, beside raw one-sided reads over the same provider.
//
// The limit reads as much, header and payload, from the same place in the same mempoold, which
// sleeps between reads as a node does. Shown besides: a bare target process that polls without a
// pause.
#include <array>
#include <chrono>
#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include <benchmark/benchmark.h>

#include <mempool/detail/blob_header.h>
#include <mempool/mempool.h>

#include "child.h"
#include "node.h"
#include "raw_fabric.h"
#include "summary.h"
#include "support.h"
#include "timing.h"
#include "transport/connection.h"
#include "transport/io_thread.h"
#include "transport/provider.h"

namespace mempool::bench {
namespace {

constexpr std::uint64_t kSizes[] = {64, 4 * kKiB, 64 * kKiB, 1 * kMiB};
constexpr std::size_t kDepth = 16;
constexpr std::size_t kManyReads = 128;
constexpr int kCallsATurn = 16;

const transport::Provider& named(const std::string& name) {
  const auto* provider = transport::find_provider(name);
  if (!provider) stop("there is no provider " + name);
  return *provider;
}

/// A raw reader, with room for what is read together.
class RawReader {
 public:
  explicit RawReader(const std::string& provider)
      : fabric_(named(provider), host(), transport::FabricUse::kConnect),
        memory_(kDepth * kRoomBytes) {
    fabric_.use_as_destination(memory_);
  }

  fi_addr_t insert(const std::vector<std::byte>& peer) { return fabric_.insert(peer); }

  void read(const RawFabric::Source& source, std::uint64_t bytes) {
    slots_[0].into = room(0, bytes);
    fabric_.start(source, slots_[0]);
    fabric_.finish_any();
  }

  /// As many reads, so many of them always under way.
  void read_many(const RawFabric::Source& source, std::uint64_t bytes) {
    for (std::size_t i = 0; i < kDepth; ++i) {
      slots_[i].into = room(i, bytes);
      fabric_.start(source, slots_[i]);
    }
    for (std::size_t i = kDepth; i < kManyReads; ++i) fabric_.start(source, fabric_.finish_any());
    for (std::size_t i = 0; i < kDepth; ++i) fabric_.finish_any();
  }

 private:
  static constexpr std::size_t kRoomBytes = 2 * kMiB;

  std::span<std::byte> room(std::size_t slot, std::uint64_t bytes) {
    return std::span(memory_).subspan(slot * kRoomBytes, bytes);
  }

  RawFabric fabric_;
  std::vector<std::byte> memory_;
  std::array<RawFabric::Slot, kDepth> slots_;
};

/// One provider: a node that offers nothing else, a client of it, and a raw reader of the node's
/// memory and of a bare target's.
class Setup {
 public:
  Setup(const std::string& name, const ScratchDirectory& directory, const std::string& self)
      : provider(name),
        daemon_(
            start_node(directory.path() / name, {"--provider", name, "--max-memsize", "64MiB"})),
        target_({self, "--raw-target=" + name}),
        pool_(client_of(daemon_, name)),
        buffer_(get_or_stop(pool_.buffer(1 * kMiB))),
        reader_(name) {
    for (const auto bytes : kSizes) blobs_.push_back(get_or_stop(pool_.poolset(make_bytes(bytes))));
    ask_daemon_for_its_memory();
    in_target_ = {reader_.insert(from_hex(target_.value("address"))),
                  std::stoull(target_.value("base")), std::stoull(target_.value("key"))};
    target_.pause();
  }

  void get(std::size_t index) {
    auto view = pool_.poolget(blobs_[index]);
    if (!view) stop(view.error().to_string());
    if (view->path() != Path::kTcp && view->path() != Path::kRdma) stop("not read one-sidedly");
    benchmark::DoNotOptimize(view->data());
  }

  void get_into_buffer(std::size_t index) {
    get_or_stop(pool_.poolget(blobs_[index], buffer_));
    benchmark::DoNotOptimize(buffer_.bytes().data());
  }

  void get_many(std::size_t index) {
    std::deque<PendingView> under_way;
    const auto start = [&] { under_way.push_back(pool_.poolget_async(blobs_[index])); };
    const auto finish = [&] {
      benchmark::DoNotOptimize(get_or_stop(under_way.front().wait()).data());
      under_way.pop_front();
    };
    for (std::size_t i = 0; i < kDepth; ++i) start();
    for (std::size_t i = kDepth; i < kManyReads; ++i) {
      finish();
      start();
    }
    while (!under_way.empty()) finish();
  }

  void raw(std::size_t index) { reader_.read(in_daemon(index), bytes(index)); }
  void raw_many(std::size_t index) { reader_.read_many(in_daemon(index), bytes(index)); }
  void raw_from_target(std::size_t index) { reader_.read(in_target_, bytes(index)); }
  Child& target() { return target_; }

  const std::string provider;

 private:
  static std::uint64_t bytes(std::size_t index) { return sizeof(BlobHeader) + kSizes[index]; }
  RawFabric::Source in_daemon(std::size_t index) const {
    RawFabric::Source source = daemon_memory_;
    source.address += blobs_[index].hint.offset;
    return source;
  }

  void ask_daemon_for_its_memory() {
    transport::IoThread io;
    transport::Hello mine;
    mine.cluster = blobs_.front().id.cluster;
    mine.session_low = 1;
    mine.lease_ms = 30'000;
    const auto session = get_or_stop(transport::Connection::connect(
        io, daemon_.word(1), mine, std::chrono::steady_clock::now() + std::chrono::seconds(5), {}));
    const auto& offer = session->peer().providers.at(0);
    daemon_memory_ = {reader_.insert(offer.address), offer.bases.at(0), offer.keys.at(0)};
  }

  Child daemon_;
  Child target_;
  Pool pool_;
  Buffer buffer_;
  std::vector<DRef> blobs_;
  RawReader reader_;
  RawFabric::Source daemon_memory_;
  RawFabric::Source in_target_;
};

/// The best provider of this machine, the best without RDMA, and the last resort. The second has
/// bars, and the first, where it is RDMA, for one get at a time.
struct Providers {
  std::vector<std::string> measured;
  std::string best_tcp;
};

Providers choose_providers(const ScratchDirectory& directory) {
  const Child node = start_node(directory.path() / "probe", {"--max-memsize", "1MiB"});
  const auto present = providers_of(node);
  Providers chosen{{}, best_tcp_provider(node)};
  for (const auto& name : present)
    if (name == present.front() || name == chosen.best_tcp || name == present.back())
      chosen.measured.push_back(name);
  return chosen;
}

void add(Setup& setup, std::size_t index, bool is_best_tcp, std::vector<Target>& targets) {
  const std::string what = size_name(kSizes[index]) + " over " + setup.provider;
  const std::string one = "get " + what;
  const std::string view = one + ", as a view";
  const std::string many = std::to_string(kManyReads) + " gets " + what + ", 16 deep";
  const std::string raw_target = "fi_read " + what + " from bare target";
  const auto raw = [&setup, index] { setup.raw(index); };
  add_pair(
      one, kCallsATurn, [&setup, index] { setup.get_into_buffer(index); }, raw);
  add_pair(
      view, kCallsATurn, [&setup, index] { setup.get(index); }, raw);
  add_pair(
      many, 1, [&setup, index] { setup.get_many(index); },
      [&setup, index] { setup.raw_many(index); });
  benchmark::RegisterBenchmark(raw_target.c_str(),
                               [&setup, index](benchmark::State& state) {
                                 const Awake awake(&setup.target());
                                 time_calls(state, 1, [&] { setup.raw_from_target(index); });
                               })
      ->UseManualTime()
      ->MinTime(0.2);

  const auto beside_raw = [&](const std::string& name, Goal goal, double bound) {
    targets.push_back({name, {name, "ours"}, {name, "limit"}, goal, bound});
  };
  const bool rdma = named(setup.provider).rdma;
  beside_raw(one, is_best_tcp || rdma ? Goal::kTimeAtMost : Goal::kShown, 1.15);
  targets.push_back({"  : bare target", {one, "ours"}, {raw_target, "p50"}, Goal::kShown, 0});
  beside_raw(view, Goal::kShown, 0);
  beside_raw(many, is_best_tcp ? Goal::kSpeedAtLeast : Goal::kShown,
             kSizes[index] == 64 ? 0.8 : 0.9);
}

int main_of_remote(int argc, char** argv) {
  constexpr std::string_view kTargetFlag = "--raw-target=";
  if (argc == 2 && std::string_view(argv[1]).starts_with(kTargetFlag))
    serve_raw_target(named(std::string(argv[1]).substr(kTargetFlag.size())), host());
  const RunOptions run = parse_options(argc, argv);

  const ScratchDirectory directory;
  const std::string self = std::filesystem::read_symlink("/proc/self/exe").native();
  std::deque<Setup> setups;
  std::vector<Target> targets;
  const auto providers = choose_providers(directory);
  for (const auto& name : providers.measured) {
    Setup& setup = setups.emplace_back(name, directory, self);
    for (std::size_t index = 0; index < std::size(kSizes); ++index)
      add(setup, index, name == providers.best_tcp, targets);
  }
  return run_and_report(run, targets);
}

}  // namespace
}  // namespace mempool::bench

int main(int argc, char** argv) {
  return mempool::bench::main_of_remote(argc, argv);
}
