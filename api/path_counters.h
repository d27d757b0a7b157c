// How many gets took which path in this process, and what held them up. Lock-free: the hot path
// counts here.
#pragma once

#include <array>
#include <atomic>
#include <functional>
#include <map>
#include <string>
#include <utility>

#include <mempool/info.h>

#include "transport/provider.h"

namespace mempool {

/// "in process", "mapped file", "push", "tcp (net)", "rdma (verbs)": as inspect and stats print it.
inline std::string path_name(Path path, const transport::Provider* provider = nullptr) {
  const std::string name(to_string(path));
  return provider ? name + " (" + std::string(provider->name) + ")" : name;
}

/// Why a read of an owner's memory was not accepted at once.
enum class Retry : std::uint8_t { kRejected, kLate, kFailed, kNotInMemory };

class PathCounters {
 public:
  void count(Path path, const transport::Provider* provider, std::uint64_t bytes) noexcept {
    Counter& counter = counters_[slot(path, provider)];
    counter.gets.fetch_add(1, std::memory_order_relaxed);
    counter.bytes.fetch_add(bytes, std::memory_order_relaxed);
  }

  void count(Retry reason) noexcept {
    retries_[static_cast<std::size_t>(reason)].fetch_add(1, std::memory_order_relaxed);
  }

  std::map<std::string, std::uint64_t> retries() const {
    std::map<std::string, std::uint64_t> all;
    for (std::size_t i = 0; i < kRetryNames.size(); ++i)
      if (const auto count = retries_[i].load()) all[kRetryNames[i]] = count;
    return all;
  }

  /// Gets in process that are counted elsewhere, where a lock is held anyway. Before the first get;
  /// `source` is asked by snapshot().
  void add_in_process(std::function<PathStats()> source) { in_process_ = std::move(source); }

  std::map<std::string, PathStats> snapshot() const {
    std::map<std::string, PathStats> all;
    const auto put = [&](const Counter& counter, std::string name) {
      if (const auto gets = counter.gets.load())
        all[std::move(name)] = {gets, counter.bytes.load()};
    };
    for (std::size_t i = 0; i < kPathCount; ++i) put(counters_[i], path_name(static_cast<Path>(i)));
    if (const PathStats here = in_process_ ? in_process_() : PathStats{}; here.gets != 0) {
      PathStats& total = all[path_name(Path::kInProcess)];
      total.gets += here.gets;
      total.bytes += here.bytes;
    }
    const auto providers = transport::known_providers();
    for (std::size_t i = 0; i < providers.size(); ++i)
      put(counters_[kPathCount + i], path_name(one_sided(providers[i]), &providers[i]));
    return all;
  }

  static Path one_sided(const transport::Provider& provider) {
    if (!provider.has_hosts) return Path::kSharedMemory;
    return provider.rdma ? Path::kRdma : Path::kTcp;
  }

 private:
  static constexpr std::size_t kMaxProviders = 8;
  static constexpr std::array<const char*, 4> kRetryNames{"rejected", "late", "failed",
                                                          "not in memory"};
  struct Counter {
    std::atomic<std::uint64_t> gets{0};
    std::atomic<std::uint64_t> bytes{0};
  };

  static std::size_t slot(Path path, const transport::Provider* provider) noexcept {
    if (!provider) return static_cast<std::size_t>(path);
    return kPathCount + static_cast<std::size_t>(provider - transport::known_providers().data());
  }

  std::array<Counter, kPathCount + kMaxProviders> counters_;
  std::array<std::atomic<std::uint64_t>, kRetryNames.size()> retries_{};
  std::function<PathStats()> in_process_;
};

}  // namespace mempool
