// Peer: this process's link to one node - its session, and the best path to its regions.
//
// The providers to its regions are tried and chosen by Routes; when none works, the owner sends the
// bytes. The memory of a node on this host is mapped when the two meet. Thread safety: every call
// from any thread. `io` and `fabrics` outlive the peer.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "transport/connection.h"
#include "transport/hint_cache.h"
#include "transport/one_sided.h"
#include "transport/recency_report.h"
#include "transport/routes.h"
#include "transport/shared_regions.h"

namespace mempool::transport {

/// What the reading side insists on.
struct ReadRules {
  bool require_rdma = false;
  bool reread = false;  // rule (ii) always, however short the node's window makes a read look
};

class Peer {
 public:
  static Result<std::shared_ptr<Peer>> connect(IoThread& io, Fabrics& fabrics,
                                               const AllowedPaths& paths, const ReadRules& rules,
                                               const std::string& host_port, const Hello& mine,
                                               Clock::time_point deadline,
                                               std::function<void()> lost);
  ~Peer();

  Connection& session() noexcept { return *session_; }
  const Hello& hello() const noexcept { return hello_; }
  bool alive() const noexcept { return session_->alive(); }

  /// The provider in use; null when the owner has to send the bytes.
  const Provider* provider() const noexcept;

  /// The memory of a node on this host; null where it cannot be shared.
  SharedRegions* shared() const noexcept { return shared_.get(); }

  /// Where the blob is, as far as this process knows.
  LocationHint hint(const DRef& ref) { return hints_.newer_than(ref.hint, ref.id.object); }
  /// The owner said where it is now.
  void learn(const DRef& ref, const LocationHint& hint) {
    if (hint.generation != this->hint(ref).generation) hints_.learn(ref.id.object, hint);
  }
  /// Whether the peer's memory can be read at the hint, and that can be true: it lies in a region
  /// that the peer announced.
  bool readable(const DRef& ref, const LocationHint& hint) const noexcept;

  /// The blob was read without the owner's knowing: it is told, some time soon.
  void touched(const DRef& ref) noexcept { recency_.note(ref.id.object); }

  /// A verified one-sided read of payload bytes [offset, offset + bytes) at a plausible hint,
  /// posted and under way. The peer and `into` outlive it.
  class Read;
  /// Nothing when no provider works (any more).
  std::optional<Read> start(const DRef& ref, const LocationHint& hint, std::uint64_t offset,
                            std::uint64_t bytes, const Buffer& into);
  /// Tells which provider was used, and whether the header was read again because it was slow.
  struct Outcome {
    Verdict verdict;
    const Provider* provider;
    bool late;
  };
  Result<Outcome> finish(Read& read, std::chrono::milliseconds timeout);
  /// Both, by the next provider where one fails. Unavailable when none works.
  Result<Outcome> read(const DRef& ref, const LocationHint& hint, std::uint64_t offset,
                       std::uint64_t bytes, const Buffer& into, std::chrono::milliseconds timeout);

  /// Memory that the node can read, for one large set; nothing where its bytes are better sent.
  std::optional<SourceMemory::Slot> pull_slot(Clock::time_point deadline);
  /// The node cannot read it after all: from now on bytes are sent.
  void stop_pulling(const Error& why);

 private:
  Peer(std::shared_ptr<Connection> session, IoThread& io, Fabrics& fabrics,
       const AllowedPaths& paths, const ReadRules& rules);
  void attach(const Hello& mine, Clock::time_point deadline);
  Result<SourceMemory*> announce_source(const Routes::Route& route, Clock::time_point deadline);

  std::shared_ptr<Connection> session_;
  const Hello& hello_;            // the session's
  const std::stop_token& ended_;  // likewise
  std::shared_ptr<SharedRegions> shared_;
  HintCache hints_;
  RecencyReport recency_;
  Fabrics& fabrics_;
  const std::string host_;
  const bool pulls_by_any_;
  const std::chrono::milliseconds window_;  // slower reads are verified once more
  Routes routes_;

  std::mutex source_mutex_;  // of what follows
  SourceMemory* source_ = nullptr;
  const Routes::Route* source_route_ = nullptr;
  bool announcing_ = false;  // a caller tells the node
  bool cannot_pull_ = false;
};

class Peer::Read {
 public:
  Read(Routes::Route& route, const RemoteBlob& blob, std::uint64_t offset, std::uint64_t bytes,
       const Buffer& into)
      : route_(route), read_(route.fabric, blob, offset, bytes, into) {}

 private:
  friend class Peer;
  Routes::Route& route_;
  VerifiedRead read_;
};

}  // namespace mempool::transport
