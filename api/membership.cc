#include "api/membership.h"

#include <algorithm>
#include <mutex>

namespace mempool {
namespace {

class StaticMembership final : public Membership {
 public:
  std::vector<NodeInfo> members() const override {
    std::lock_guard lock(mutex_);
    return members_;
  }

  std::optional<NodeInfo> find(std::uint64_t node) const override {
    std::lock_guard lock(mutex_);
    const auto found = std::ranges::find(members_, node, &NodeInfo::id);
    if (found == members_.end()) return std::nullopt;
    return *found;
  }

  bool learn(const NodeInfo& node, bool first_hand) override {
    std::lock_guard lock(mutex_);
    const auto known = std::ranges::find(members_, node.id, &NodeInfo::id);
    if (known != members_.end()) {
      if (first_hand) *known = node;
      return false;
    }
    if (members_.size() >= kMaxMembers) {  // a hostile peer must not fill memory
      const auto dead = std::ranges::find(members_, false, &NodeInfo::alive);
      if (dead == members_.end() || !first_hand) return false;
      members_.erase(dead);
    }
    members_.push_back(node);
    members_.back().alive = first_hand && node.alive;
    return true;
  }

  void lost(const std::string& address) override {
    std::lock_guard lock(mutex_);
    for (auto& member : members_)
      if (member.address == address) member.alive = false;
  }

 private:
  static constexpr std::size_t kMaxMembers = 1024;
  mutable std::mutex mutex_;
  std::vector<NodeInfo> members_;
};

}  // namespace

std::unique_ptr<Membership> make_static_membership() {
  return std::make_unique<StaticMembership>();
}

}  // namespace mempool
