// Gets of a node's own spilled blobs, and writes of spill files beside plain file writes.
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include <benchmark/benchmark.h>
#include <fcntl.h>
#include <unistd.h>

#include <mempool/mempool.h>

#include "summary.h"
#include "support.h"

namespace mempool::bench {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// Passes see the same disk only if the kernel is not writing back what the one before left.
constexpr std::uint64_t kBytesPerRun = 128 * kMiB;

class Spills {
 public:
  explicit Spills(const ScratchDirectory& directory)
      : pool(get_or_stop(Pool::open(options(directory)))), source(make_bytes(64 * kMiB)) {
    small = get_or_stop(pool.poolset(first(1 * kMiB)));
    large = get_or_stop(pool.poolset(make_bytes(kGiB)));
    // The session's directory: where spill files are made, so where the plain files go.
    place = fs::path(get_or_stop(pool.movetodisk(small)).path).parent_path();
    get_or_stop(pool.movetodisk(large));
  }

  std::span<const std::byte> first(std::uint64_t bytes) const {
    return std::span(source).first(bytes);
  }

  Pool pool;
  const std::vector<std::byte> source;
  DRef small;
  DRef large;
  fs::path place;

 private:
  static PoolOptions options(const ScratchDirectory& directory) {
    PoolOptions options;
    options.max_memsize = kGiB + 256 * kMiB;
    options.spill_dir = (directory.path() / "spill").native();
    return options;
  }
};

/// The first get after the memory was given up.
void get_spilled(benchmark::State& state, Spills& spills, const DRef& blob) {
  for (auto _ : state) {
    get_or_stop(spills.pool.movetodisk(blob));
    const auto start = Clock::now();
    {
      auto view = spills.pool.poolget(blob);
      if (!view) stop(view.error().to_string());
      if (view->path() != Path::kMappedFile) stop("a spilled blob was not mapped");
      benchmark::DoNotOptimize(view->data());
    }
    state.SetIterationTime(seconds_since(start));
  }
}

void write_spill(benchmark::State& state, Spills& spills, std::uint64_t bytes, bool release) {
  for (auto _ : state) {
    const DRef blob = get_or_stop(spills.pool.poolset(spills.first(bytes)));
    const auto start = Clock::now();
    const auto file = release ? spills.pool.movetodisk(blob) : spills.pool.copytodisk(blob);
    state.SetIterationTime(seconds_since(start));
    if (!file) stop(file.error().to_string());
    get_or_stop(spills.pool.pooldelete(blob));
  }
}

/// Returns what `call` returns, or ends the program.
template <class T>
T check(const char* call, T returned) {
  if (returned < 0) stop(std::string(call) + ": " + std::strerror(errno));
  return returned;
}

/// create, pwrite, rename, close; no fsync. The bytes are as warm as those of a blob just set.
void write_plain(benchmark::State& state, Spills& spills, std::uint64_t bytes) {
  const std::string temporary = (spills.place / "plain.tmp").native();
  const std::string name = (spills.place / "plain").native();
  std::vector<std::byte> copy(bytes);
  for (auto _ : state) {
    std::memcpy(copy.data(), spills.source.data(), bytes);
    const auto start = Clock::now();
    const int fd =
        check("open", ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
    for (std::uint64_t at = 0; at < bytes;) {
      at += static_cast<std::uint64_t>(
          check("pwrite", ::pwrite(fd, copy.data() + at, bytes - at, static_cast<off_t>(at))));
    }
    check("close", ::close(fd));
    check("rename", ::rename(temporary.c_str(), name.c_str()));
    state.SetIterationTime(seconds_since(start));
    check("unlink", ::unlink(name.c_str()));
  }
}

int main_of_spill(int argc, char** argv) {
  const RunOptions run = parse_options(argc, argv);
  const ScratchDirectory directory;
  Spills spills(directory);
  std::vector<Target> targets;

  const auto get = [&](const std::string& name, const DRef& blob) {
    benchmark::RegisterBenchmark(
        name.c_str(),
        [&spills, &blob](benchmark::State& state) { get_spilled(state, spills, blob); })
        ->UseManualTime()
        ->Iterations(200);
  };
  get("get spilled 1 MiB", spills.small);
  get("get spilled 1 GiB", spills.large);
  targets.push_back({"get spilled 1 GiB : 1 MiB",
                     {"get spilled 1 GiB", ""},
                     {"get spilled 1 MiB", ""},
                     Goal::kNotSlower,
                     1.1});

  for (const std::uint64_t bytes : {1 * kMiB, 64 * kMiB}) {
    const auto runs = static_cast<std::int64_t>(kBytesPerRun / bytes);
    const std::string size = size_name(bytes);
    const std::string plain = "plain write " + size;
    benchmark::RegisterBenchmark(
        plain.c_str(),
        [&spills, bytes](benchmark::State& state) { write_plain(state, spills, bytes); })
        ->UseManualTime()
        ->Iterations(runs);
    for (const bool release : {true, false}) {
      const std::string name = (release ? "movetodisk " : "copytodisk ") + size;
      benchmark::RegisterBenchmark(name.c_str(),
                                   [&spills, bytes, release](benchmark::State& state) {
                                     write_spill(state, spills, bytes, release);
                                   })
          ->UseManualTime()
          ->Iterations(runs);
      targets.push_back(
          {name + " : create, pwrite, rename", {name, ""}, {plain, ""}, Goal::kSpeedAtLeast, 0.8});
    }
  }
  return run_and_report(run, targets);
}

}  // namespace
}  // namespace mempool::bench

int main(int argc, char** argv) {
  return mempool::bench::main_of_spill(argc, argv);
}
