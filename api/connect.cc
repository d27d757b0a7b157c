// Pool::connect: a client of a cluster.
#include <mempool/mempool.h>

#include "api/identity.h"
#include "api/pool_core.h"
#include "transport/provider.h"

namespace mempool {

Result<Pool> Pool::connect(const std::string& node, const ClusterOptions& options) {
  auto paths = transport::choose_paths(options.providers, options.require_rdma);
  if (!paths) return forward_error(std::move(paths));
  auto cluster = std::make_unique<Cluster>(options, std::move(*paths));
  transport::Hello hello;
  hello.cluster = id_of_name(options.cluster);
  cluster->introduce(std::move(hello));
  cluster->keep_linked({node});
  // At once, so that a wrong address is an error here and not in the first get.
  auto peer = cluster->any_peer(cluster->deadline());
  if (!peer) return forward_error(std::move(peer));
  return PoolCore::wrap(std::make_unique<PoolCore>(std::move(cluster)));
}

}  // namespace mempool
