// What is behind a Pool: the verbs on its own blobs (if it stores) and on those of others (if it
// has a network). libmempool derives a node from it; a client is one as it stands.
#pragma once

#include <memory>

#include <mempool/detail/forks.h>
#include <mempool/mempool.h>

#include "api/cluster.h"
#include "api/remote.h"
#include "api/verbs.h"

namespace mempool {

class PoolCore {
 public:
  /// A client.
  explicit PoolCore(std::unique_ptr<Cluster> cluster);
  virtual ~PoolCore();

  static Pool wrap(std::unique_ptr<PoolCore> core) { return Pool(std::move(core)); }

  /// Forked, in a child of the process that opened the pool.
  Status usable() const noexcept;
  Result<Verbs*> verbs(const BlobId& id);
  Result<Verbs*> verbs_of_node(std::uint64_t node);
  /// The short way to verbs() for this process's own blobs; null: ask verbs().
  Verbs* owner_here(const BlobId& id) const noexcept {
    const bool ours =
        id.node == life_.node && id.cluster == life_.cluster && id.incarnation == life_.incarnation;
    return ours && current_forks() == forks_ ? local_ : nullptr;
  }
  /// Null in clients.
  Verbs* local() noexcept { return local_; }
  /// Null in pools without a network.
  Remote* remote() noexcept { return remote_.get(); }
  Cluster* cluster() noexcept { return cluster_.get(); }
  transport::BufferPool& buffers() noexcept {
    return cluster_ ? cluster_->buffers() : own_buffers_;
  }
  PathCounters& counters() noexcept { return cluster_ ? cluster_->counters() : own_counters_; }

  virtual NodeInfo self() const { return {}; }
  /// Of pools that store.
  virtual Result<Stats> own_stats() { return local_->stats(0); }

 protected:
  /// A pool that stores; `cluster` is null without a network. The derived class sets local_.
  PoolCore() = default;
  void join(std::unique_ptr<Cluster> cluster);

  BlobId life_;  // of the local node; all 0 in clients
  Verbs* local_ = nullptr;
  std::unique_ptr<Cluster> cluster_;
  std::unique_ptr<Remote> remote_;
  // Of pools without a network.
  PathCounters own_counters_;
  transport::BufferPool own_buffers_;

 private:
  const unsigned forks_ = current_forks();
};

}  // namespace mempool
