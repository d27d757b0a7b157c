#include "api/pool_core.h"

#include "api/identity.h"

namespace mempool {

PoolCore::PoolCore(std::unique_ptr<Cluster> cluster) {
  join(std::move(cluster));
}

PoolCore::~PoolCore() = default;

void PoolCore::join(std::unique_ptr<Cluster> cluster) {
  cluster_ = std::move(cluster);
  remote_ = std::make_unique<Remote>(*cluster_);
}

Status PoolCore::usable() const noexcept {
  return check_process(forks_);
}

Result<Verbs*> PoolCore::verbs(const BlobId& id) {
  if (auto fine = usable(); !fine) return forward_error(std::move(fine));
  if (local_ && (id.node == life_.node || !remote_)) {
    if (auto same = check_identity(id, life_); !same) return forward_error(std::move(same));
    return local_;
  }
  return remote_.get();
}

Result<Verbs*> PoolCore::verbs_of_node(std::uint64_t node) {
  if (auto fine = usable(); !fine) return forward_error(std::move(fine));
  if (local_ && (node == 0 || node == life_.node)) return local_;
  if (!remote_)
    return fail(Code::kUnavailable,
                "this pool is private to its process and reaches no other node");
  return remote_.get();
}

}  // namespace mempool
