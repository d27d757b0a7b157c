// Peer: this process's link to one node - its session, and the best path to its regions.
//
// The path is chosen when the two meet: the first provider, best first, that both have and that
// opens. When it fails, the next one is taken for the rest of the link's life, which is logged;
// when none is left, the owner sends the bytes. Thread safety: every call from any thread.
// `fabrics` outlives the peer.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "transport/connection.h"
#include "transport/fabrics.h"
#include "transport/one_sided.h"

namespace mempool::transport {

class Peer {
 public:
  static Result<std::shared_ptr<Peer>> connect(IoThread& io, Fabrics& fabrics,
                                               const std::string& host_port, const Hello& mine,
                                               bool require_rdma, Clock::time_point deadline,
                                               std::function<void()> lost);
  ~Peer();

  Connection& session() noexcept { return *session_; }
  const Hello& hello() const noexcept { return session_->peer(); }
  bool alive() const noexcept { return session_->alive(); }

  /// The provider in use; null when the owner has to send the bytes.
  const Provider* provider() const noexcept;

  /// Whether the hint can be true: it lies in a region that the peer announced.
  bool plausible(const DRef& ref, const LocationHint& hint) const noexcept;

  /// A verified one-sided read of payload bytes [offset, offset + bytes) at a plausible hint.
  /// Unavailable when no provider works (any more). Tells which provider was used last.
  struct Outcome {
    Verdict verdict;
    const Provider* provider;
  };
  Result<Outcome> read(const DRef& ref, const LocationHint& hint, std::uint64_t offset,
                       std::uint64_t bytes, const Buffer& into, std::chrono::milliseconds timeout);

 private:
  struct Route {
    Fabric* fabric;
    FabricAddress address;
    ProviderOffer offer;
    mutable std::atomic<int> timeouts_in_a_row{0};

    Route(Fabric* opened, FabricAddress inserted, ProviderOffer offered)
        : fabric(opened), address(inserted), offer(std::move(offered)) {}
  };

  Peer(std::shared_ptr<Connection> session, Fabrics& fabrics, std::string host, bool require_rdma);
  Status open_next_route();  // under mutex_
  void give_up(const Route* failed, const Error& why);

  std::shared_ptr<Connection> session_;
  Fabrics& fabrics_;
  const std::string host_;
  const bool require_rdma_;
  std::mutex mutex_;              // of the two below
  std::size_t next_allowed_ = 0;  // providers before it were tried
  std::vector<std::unique_ptr<Route>> routes_;
  std::atomic<const Route*> route_{nullptr};
};

}  // namespace mempool::transport
