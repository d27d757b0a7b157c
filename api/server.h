// Server: what a node does for its peers - checks who they are, and answers their requests with
// Node.
#pragma once

#include <atomic>
#include <memory>
#include <string>

#include "api/cluster.h"
#include "api/node.h"
#include "transport/listener.h"
#include "transport/puller.h"
#include "transport/region_door.h"
#include "transport/service.h"

namespace mempool {

class Server final : public transport::Service {
 public:
  /// Answers from now on; `node` and `cluster` outlive it. `door`: for readers on this host; may be
  /// null.
  Server(Node& node, Cluster& cluster, std::unique_ptr<transport::Listener> listener,
         std::unique_ptr<transport::RegionDoor> door);

  Result<transport::Accepted> accept(const transport::Hello& peer,
                                     const std::string& host) override;
  void close();

  /// The node's counters with the server's.
  Result<Stats> stats();
  const NodeInfo& self() const noexcept { return self_; }
  transport::Puller& puller() noexcept { return puller_; }

  /// One blob more may be loaded because peers read it often: few at a time, so that workers are
  /// left for everybody else. Ends with end_promotion().
  bool begin_promotion() noexcept;
  void end_promotion() noexcept { --promotions_; }

 private:
  Node& node_;
  Cluster& cluster_;
  transport::Puller puller_;
  std::unique_ptr<transport::Listener> listener_;
  const std::shared_ptr<transport::RegionDoor> door_;  // sessions dismiss themselves there
  const NodeInfo self_;
  std::atomic<int> promotions_{0};
};

}  // namespace mempool
