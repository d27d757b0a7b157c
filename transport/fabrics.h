// Fabrics: the providers that this process has open, for listening and for reading.
//
// A node opens every allowed provider at start and exposes its regions in each; a client opens a
// provider when it first reads over it. Thread safety: every call from any thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "transport/fabric.h"
#include "transport/messages.h"
#include "transport/source_memory.h"

namespace mempool::transport {

class Fabrics {
 public:
  /// `allowed` best first.
  explicit Fabrics(std::vector<const Provider*> allowed) : allowed_(std::move(allowed)) {}

  /// Opens every allowed provider at `host` and exposes the regions. A provider that does not open
  /// is left out with a warning; with `all_required` it is the error.
  Status listen(const std::string& host, std::span<const std::span<std::byte>> regions,
                bool all_required);
  std::vector<ProviderOffer> offers() const;
  std::vector<std::string> listening() const;
  bool listening_with_rdma() const;

  std::span<const Provider* const> allowed() const noexcept { return allowed_; }

  /// The fabric that listens over the provider; null when none does.
  Fabric* listening_over(std::string_view provider) const;

  /// Memory that peers read over the fabric, made and registered when it is first asked for, and
  /// what they need for that.
  struct Source {
    SourceMemory* memory;
    ProviderOffer offer;
  };
  Result<Source> source(const Fabric& fabric);

  /// A fabric of that provider from which `peer_host` can be reached.
  Result<Fabric*> reach(const Provider& provider, const std::string& peer_host);

  /// Peers that came to be read by another provider than before, in all.
  std::uint64_t path_changes() const noexcept { return path_changes_.load(); }
  void count_path_change() noexcept { ++path_changes_; }

 private:
  struct Open {
    bool loopback;  // an endpoint at a loopback address reaches nothing else, and the reverse
    std::unique_ptr<SourceMemory> source;  // goes after the fabric, which may be sending from it
    std::unique_ptr<Fabric> fabric;
    std::vector<std::unique_ptr<MemoryRegion>> regions;  // close before the fabric
    std::unique_ptr<MemoryRegion> source_region;
    bool offered = false;

    Open(bool at_loopback, std::unique_ptr<Fabric> opened)
        : loopback(at_loopback), fabric(std::move(opened)) {}
  };

  const std::vector<const Provider*> allowed_;
  mutable std::mutex mutex_;
  std::vector<Open> open_;
  std::atomic<std::uint64_t> path_changes_{0};
};

}  // namespace mempool::transport
