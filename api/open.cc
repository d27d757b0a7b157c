// Pool::open: a pool that stores; with `listen`, a node of a cluster.
#include <mempool/mempool.h>

#include "api/identity.h"
#include "api/node.h"
#include "api/pool_core.h"
#include "api/server.h"
#include "api/shared_pins.h"
#include "transport/address.h"
#include "transport/listener.h"
#include "transport/log.h"

namespace mempool {
namespace {

class StoringPool final : public PoolCore {
 public:
  explicit StoringPool(std::unique_ptr<Node> node, std::shared_ptr<SharedPins> pins = nullptr)
      : pins_(std::move(pins)), node_(std::move(node)) {
    life_ = node_->life();
    local_ = node_.get();
    node_->count_in(counters());
  }

  ~StoringPool() override {
    // Peers first, then the links, then what both looked at.
    if (server_) server_->close();
    if (cluster_) cluster_->close();
    server_.reset();
    remote_.reset();
    cluster_.reset();
  }

  /// `address`: HOST:PORT as peers are told it; the listener's own is a number.
  Status serve(const PoolOptions& options, std::unique_ptr<Cluster> cluster,
               const std::string& address, std::unique_ptr<transport::Listener> listener);

  NodeInfo self() const override {
    return server_ ? server_->self() : NodeInfo{life_.node, "", life_.incarnation, true, {}};
  }

  Result<Stats> own_stats() override { return server_ ? server_->stats() : node_->stats(0); }

 private:
  Status expose(const PoolOptions& options, const std::string& host);
  Result<std::unique_ptr<transport::RegionDoor>> open_door();

  std::shared_ptr<SharedPins> pins_;
  std::unique_ptr<Node> node_;
  std::unique_ptr<Server> server_;
};

/// The regions, over every provider.
Status StoringPool::expose(const PoolOptions& options, const std::string& host) {
  auto& fabrics = cluster_->fabrics();
  std::vector<std::span<std::byte>> regions;
  for (const auto& region : node_->regions()) regions.push_back(region.bytes());
  const bool automatic = cluster_->paths().automatic;
  if (auto open = fabrics.listen(host, regions, !automatic); !open) return open;
  if (automatic && fabrics.listening().empty())
    transport::log().warn(
        "no fabric provider works on this machine: readers on other hosts are sent "
        "the bytes (see mempool doctor)");
  if (options.require_rdma && !fabrics.listening_with_rdma())
    return fail(Code::kNoProvider, "RDMA is required, and no provider that has it could be opened");
  return {};
}

/// The regions, for readers on this host; null where that is not allowed.
Result<std::unique_ptr<transport::RegionDoor>> StoringPool::open_door() {
  if (!cluster_->paths().shared_memory) return nullptr;
  std::vector<int> descriptors;
  for (const auto& region : node_->regions()) descriptors.push_back(region.descriptor());
  return transport::RegionDoor::open(cluster_->io(), std::move(descriptors), pins_->pages());
}

Status StoringPool::serve(const PoolOptions& options, std::unique_ptr<Cluster> cluster,
                          const std::string& address, std::unique_ptr<transport::Listener> bound) {
  join(std::move(cluster));
  // Goes before the cluster, whose I/O thread it needs to close.
  auto listener = std::move(bound);
  if (auto exposed = expose(options, listener->where().host); !exposed) return exposed;
  auto door = open_door();
  if (!door) return forward_error(std::move(door));
  transport::Hello hello;
  hello.cluster = life_.cluster;
  hello.node = life_.node;
  hello.incarnation = life_.incarnation;
  hello.address = address;
  hello.bound = listener->where().host;
  hello.providers = cluster_->fabrics().offers();
  for (const auto& region : node_->regions()) hello.region_bytes.push_back(region.bytes().size());
  if (*door) hello.door = (*door)->name();
  hello.read_window_ms = options.read_window_ms;
  hello.quarantine_ms = options.quarantine_ms;
  cluster_->introduce(std::move(hello));
  node_->count_in(counters());
  server_ = std::make_unique<Server>(*node_, *cluster_, std::move(listener), std::move(*door));
  cluster_->keep_linked(options.join);
  return {};
}

Status check(const PoolOptions& options) {
  if (options.max_memsize == 0)
    return fail(Code::kInvalidArgument, "max_memsize is 0: give the pool some memory");
  if (options.policy != Policy::kLru && options.policy != Policy::kMru)
    return fail(Code::kInvalidArgument, "the policy is neither lru nor mru");
  if (options.quarantine_ms <= options.read_window_ms)
    return fail(Code::kInvalidArgument, "quarantine_ms must be larger than read_window_ms");
  if (options.listen.empty() && !options.join.empty())
    return fail(Code::kInvalidArgument, "a pool that joins others must listen");
  for (const auto& address : options.join)
    if (auto parsed = transport::parse_host_port(address); !parsed)
      return fail(parsed.error().code, "join: " + parsed.error().message);
  return {};
}

Result<Pool> open_private(const PoolOptions& options) {
  auto node_id = random_id();
  auto incarnation = random_id();
  if (!node_id) return forward_error(std::move(node_id));
  if (!incarnation) return forward_error(std::move(incarnation));
  auto node = Node::open(options, {id_of_name(options.cluster), *node_id, *incarnation, 0},
                         /*pins=*/nullptr);
  if (!node) return forward_error(std::move(node));
  return PoolCore::wrap(std::make_unique<StoringPool>(std::move(*node)));
}

Result<Pool> open_node(const PoolOptions& options) {
  auto where = transport::parse_host_port(options.listen);
  if (!where) return fail(where.error().code, "listen: " + where.error().message);
  // Once: all that follows is about one address, and agrees on what it is.
  const auto host = transport::resolve(where->host);
  if (!host) return fail(host.error().code, "listen: " + host.error().message);
  if (transport::is_unspecified(*host))
    return fail(Code::kInvalidArgument,
                options.listen +
                    " is no address that a peer can connect to, and a node is known by "
                    "its address: listen on the one that peers use");
  if (!options.insecure && !transport::is_loopback(*host))
    return fail(Code::kPermissionDenied,
                options.listen +
                    " is not a loopback address, and peers are not authenticated: "
                    "whoever reaches it reads and deletes everything. Say --insecure "
                    "if the network is trusted");
  if (const auto warning = transport::loopback_name_warning(where->host, *host); !warning.empty())
    transport::log().warn("{}", warning);
  auto paths = transport::choose_paths(options.providers, options.require_rdma);
  if (!paths) return forward_error(std::move(paths));
  auto incarnation = random_id();
  if (!incarnation) return forward_error(std::move(incarnation));
  auto cluster = std::make_unique<Cluster>(options, std::move(*paths));
  // The port is bound first: its number is part of the node's identity.
  auto listener = transport::Listener::bind(cluster->io(), {*host, where->port});
  if (!listener) return forward_error(std::move(listener));
  where->port = (*listener)->where().port;
  const auto address = where->to_string();
  auto pins = std::make_shared<SharedPins>();
  auto node = Node::open(options,
                         {id_of_name(options.cluster), id_of_name(address), *incarnation, 0}, pins);
  if (!node) return forward_error(std::move(node));
  auto core = std::make_unique<StoringPool>(std::move(*node), std::move(pins));
  if (auto served = core->serve(options, std::move(cluster), address, std::move(*listener));
      !served)
    return forward_error(std::move(served));
  return PoolCore::wrap(std::move(core));
}

}  // namespace

Result<Pool> Pool::open(const PoolOptions& options) {
  if (auto fine = check(options); !fine) return forward_error(std::move(fine));
  return options.listen.empty() ? open_private(options) : open_node(options);
}

}  // namespace mempool
