// Who is in the cluster, behind one small interface, so that a directory service can take the place
// of the static join list. Thread safety: every call from any thread.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <mempool/info.h>

namespace mempool {

class Membership {
 public:
  virtual ~Membership() = default;
  /// Every node ever heard of, in the order of hearing.
  virtual std::vector<NodeInfo> members() const = 0;
  virtual std::optional<NodeInfo> find(std::uint64_t node) const = 0;
  /// What a peer said of itself (`first_hand`) or of others: that only adds nodes not known yet.
  /// Tells whether it was news.
  virtual bool learn(const NodeInfo& node, bool first_hand) = 0;
  virtual void lost(const std::string& address) = 0;
};

/// Knows whom it was told of.
std::unique_ptr<Membership> make_static_membership();

}  // namespace mempool
