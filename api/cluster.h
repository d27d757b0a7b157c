// Cluster: this process's links to the nodes of its cluster, and what they share - the I/O thread,
// the fabrics, the buffers, the membership.
//
// A client links to nodes when it needs them. A node keeps a link to every member: a thread that
// sleeps until something changes makes them, and tries again while one is missing.
//
// Thread safety: every call from any thread; no call is under way when it is destroyed.
#pragma once

#include <atomic>
#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include <mempool/detail/timed_mutex.h>
#include <mempool/options.h>

#include "api/membership.h"
#include "api/path_counters.h"
#include "transport/buffer.h"
#include "transport/fabrics.h"
#include "transport/io_thread.h"
#include "transport/peer.h"

namespace mempool {

class Cluster {
 public:
  using PeerPtr = std::shared_ptr<transport::Peer>;
  using Clock = transport::Clock;

  Cluster(const ClusterOptions& options, transport::AllowedPaths paths);
  ~Cluster();
  Cluster(const Cluster&) = delete;
  Cluster& operator=(const Cluster&) = delete;

  /// Ends all links and the I/O thread. What the I/O thread calls must live until then.
  void close();

  /// What this process says of itself; before the first link.
  void introduce(transport::Hello hello);
  const transport::Hello& hello() const noexcept { return hello_; }

  /// Keeps links to these and to every member heard of.
  void keep_linked(std::vector<std::string> addresses);
  /// A node introduced itself, or was spoken of.
  void heard_of(const NodeInfo& node);

  /// The link to a node, if there is one.
  PeerPtr linked(std::uint64_t node);
  /// The link to a node, made if there is none. Unavailable, Timeout, WrongCluster, ...
  Result<PeerPtr> peer(std::uint64_t node, Clock::time_point deadline);
  /// Any living node: for a client the one it was given, else another it heard of.
  Result<PeerPtr> any_peer(Clock::time_point deadline);

  std::chrono::milliseconds timeout(std::uint32_t asked_ms) const {
    return std::chrono::milliseconds(asked_ms ? asked_ms : options_.timeout_ms);
  }
  Clock::time_point deadline(std::uint32_t asked_ms = 0) const {
    return Clock::now() + timeout(asked_ms);
  }

  const ClusterOptions& options() const noexcept { return options_; }
  const transport::AllowedPaths& paths() const noexcept { return paths_; }
  Membership& membership() noexcept { return *membership_; }
  transport::IoThread& io() noexcept { return io_; }
  transport::Fabrics& fabrics() noexcept { return *fabrics_; }
  transport::BufferPool& buffers() noexcept { return buffers_; }
  PathCounters& counters() noexcept { return counters_; }

 private:
  /// One address; the mutex is held while connecting, so that one thread does.
  struct Link {
    TimedMutex mutex;
    PeerPtr peer;
    Error failure;  // of the last attempt, which ended then:
    Clock::time_point failed{};
  };

  Result<PeerPtr> link(const std::string& address, Clock::time_point deadline);
  Result<PeerPtr> connect(const std::string& address, Clock::time_point deadline);
  void lost(const std::string& address);
  void drop_dead_peers();
  void maintain();
  bool link_missing();
  void note_failure(const std::string& address, const Error& why);
  void wake();

  const ClusterOptions options_;
  const transport::AllowedPaths paths_;
  transport::Hello hello_;
  std::unique_ptr<Membership> membership_;
  PathCounters counters_;
  transport::BufferPool buffers_;
  std::unique_ptr<transport::Fabrics> fabrics_;
  transport::IoThread io_;

  std::mutex mutex_;                                    // of what follows
  std::map<std::string, std::shared_ptr<Link>> links_;  // by address
  std::unordered_map<std::uint64_t, PeerPtr> linked_;   // by node: what a warm get looks up
  std::vector<std::string> wanted_;  // addresses; for a client the one it was given
  std::condition_variable changed_;
  bool change_ = false;
  bool closing_ = false;
  std::thread maintainer_;

  /// Why there is no link to an address; the maintainer's.
  struct Failure {
    std::string why;
    Clock::duration pause{0};
    Clock::time_point again{};
  };
  std::map<std::string, Failure> failures_;
};

}  // namespace mempool
