#include "api/cluster.h"

#include <algorithm>
#include <chrono>

#include <asio/post.hpp>

#include "api/identity.h"
#include "transport/address.h"
#include "transport/log.h"

namespace mempool {

using transport::Hello;
using transport::Peer;
using namespace std::chrono_literals;

namespace {

constexpr auto kConnectTimeout = 3s;
constexpr auto kRetryEvery = 1s;
constexpr Cluster::Clock::duration kLongestPause = 8s;  // between two tries of one address
constexpr auto kNever = Cluster::Clock::time_point::max();
constexpr std::size_t kMaxAddressBytes = 262;  // a DNS name, a colon and a port

NodeInfo introduction(const Hello& hello) {
  NodeInfo node{hello.node, hello.address, hello.incarnation, true, {}, hello.bound};
  // Of names that mean nothing here, some are too long to be passed on.
  for (const auto& offer : hello.providers)
    if (transport::find_provider(offer.name)) node.providers.push_back(offer.name);
  return node;
}

Status name_session(Hello& hello) {
  for (std::uint64_t* part : {&hello.session_high, &hello.session_low}) {
    auto random = random_id();
    if (!random) return forward_error(std::move(random));
    *part = *random;
  }
  return {};
}

}  // namespace

Cluster::Cluster(const ClusterOptions& options, transport::AllowedPaths paths)
    : options_(options),
      paths_(std::move(paths)),
      membership_(make_static_membership()),
      fabrics_(std::make_unique<transport::Fabrics>(paths_.providers)) {}

Cluster::~Cluster() {
  close();
}

void Cluster::close() {
  {
    std::lock_guard lock(mutex_);
    closing_ = true;
    changed_.notify_all();
  }
  if (maintainer_.joinable()) maintainer_.join();
  {
    std::lock_guard lock(mutex_);
    linked_.clear();
    links_.clear();
  }
  io_.stop();
  buffers_.trim();
}

void Cluster::introduce(Hello hello) {
  hello_ = std::move(hello);
}

void Cluster::keep_linked(std::vector<std::string> addresses) {
  std::lock_guard lock(mutex_);
  wanted_ = std::move(addresses);
  if (hello_.address.empty()) return;  // a client links when it needs to
  change_ = true;
  maintainer_ = std::thread([this] { maintain(); });
}

void Cluster::heard_of(const NodeInfo& node) {
  // What peers say of others is kept, announced and dialled: only what can be an address.
  if (node.id == 0 || node.id == hello_.node) return;
  if (node.address.size() > kMaxAddressBytes || !transport::parse_host_port(node.address)) return;
  if (membership_->learn({node.id, node.address, node.incarnation, false, {}}, false)) wake();
}

void Cluster::wake() {
  std::lock_guard lock(mutex_);
  change_ = true;
  changed_.notify_all();
}

// ---- links ----

Result<Cluster::PeerPtr> Cluster::link(const std::string& address, Clock::time_point deadline) {
  std::shared_ptr<Link> link;
  {
    std::lock_guard lock(mutex_);
    if (closing_) return fail(Code::kClosed, "the pool is closing");
    auto& slot = links_[address];
    if (!slot) slot = std::make_shared<Link>();
    link = slot;
  }
  const auto asked = Clock::now();
  const std::unique_lock connecting(link->mutex, deadline);
  if (!connecting) return fail(Code::kTimeout, "others are still connecting to " + address);
  if (link->peer && link->peer->alive()) return link->peer;
  link->peer = nullptr;
  // Those who waited for an attempt that failed do not try once more, each.
  if (link->failed >= asked) return tl::unexpected(link->failure);
  auto peer = connect(address, std::min(deadline, Clock::now() + kConnectTimeout));
  if (peer) {
    link->peer = *peer;
  } else {
    link->failure = peer.error();
    link->failed = Clock::now();
  }
  return peer;
}

Result<Cluster::PeerPtr> Cluster::connect(const std::string& address, Clock::time_point deadline) {
  Hello hello = hello_;
  if (auto named = name_session(hello); !named) return forward_error(std::move(named));
  auto peer = Peer::connect(io_, *fabrics_, paths_, {options_.require_rdma, options_.reread},
                            address, hello, deadline, [this, address] { lost(address); });
  if (!peer) return forward_error(std::move(peer));
  const Hello& theirs = (*peer)->hello();
  if (theirs.cluster != hello_.cluster)
    return fail(Code::kWrongCluster, address + " belongs to another cluster");
  if (hello_.node != 0 && theirs.node == hello_.node)
    return fail(Code::kExists, address + " is this node itself");
  NodeInfo node = introduction(theirs);
  node.address = address;  // the way that works from here
  membership_->learn(node, true);
  for (const auto& other : theirs.members) heard_of(other);
  const auto* provider = (*peer)->provider();
  transport::log().info("linked to {} (node {}) over {}", address, id_text(node.id),
                        provider ? provider->name : "the session alone");
  PeerPtr former;  // goes after the lock
  std::lock_guard lock(mutex_);
  if (closing_) return fail(Code::kClosed, "the pool is closing");
  former = std::exchange(linked_[node.id], *peer);
  return peer;
}

/// On the I/O thread.
void Cluster::lost(const std::string& address) {
  transport::log().info("lost the link to {}", address);
  membership_->lost(address);
  wake();
  asio::post(io_.context(), [this] { drop_dead_peers(); });
}

/// They hold the memory of nodes of this host that have gone.
void Cluster::drop_dead_peers() {
  std::vector<PeerPtr> gone;  // after the locks
  std::lock_guard lock(mutex_);
  const auto drop = [&](PeerPtr& peer) {
    if (!peer || peer->alive()) return false;
    gone.push_back(std::move(peer));
    return true;
  };
  for (auto linked = linked_.begin(); linked != linked_.end();)
    linked = drop(linked->second) ? linked_.erase(linked) : std::next(linked);
  for (const auto& [address, link] : links_) {
    // Who holds it connects, and drops the old peer itself.
    const std::unique_lock free(link->mutex, Clock::now());
    if (free) drop(link->peer);
  }
}

Cluster::PeerPtr Cluster::linked(std::uint64_t node) {
  std::lock_guard lock(mutex_);
  const auto found = linked_.find(node);
  return found != linked_.end() && found->second->alive() ? found->second : nullptr;
}

Result<Cluster::PeerPtr> Cluster::peer(std::uint64_t node, Clock::time_point deadline) {
  if (auto linked_already = linked(node)) return linked_already;
  auto known = membership_->find(node);
  if (!known && hello_.address.empty()) {
    // A client learns of nodes that came later from those it knows.
    auto any = any_peer(deadline);
    if (!any) return forward_error(std::move(any));
    auto reply = (*any)->session().call({.op = transport::Op::kNodes}, deadline);
    if (!reply) return forward_error(std::move(reply));
    for (const auto& member : reply->nodes) heard_of(member);
    known = membership_->find(node);
  }
  if (!known)
    return fail(Code::kUnavailable, "no node " + id_text(node) +
                                        " is known in this cluster; is it running, and has it "
                                        "joined?");
  auto peer = link(known->address, deadline);
  if (peer && (*peer)->hello().node != node)
    return fail(Code::kUnavailable, "at " + known->address + " there is node " +
                                        id_text((*peer)->hello().node) + " now, not " +
                                        id_text(node));
  return peer;
}

Result<Cluster::PeerPtr> Cluster::any_peer(Clock::time_point deadline) {
  std::vector<std::string> addresses;
  {
    std::lock_guard lock(mutex_);
    addresses = wanted_;
  }
  for (const auto& member : membership_->members())
    if (std::ranges::find(addresses, member.address) == addresses.end())
      addresses.push_back(member.address);
  Result<PeerPtr> first = fail(Code::kUnavailable, "no node of the cluster is known");
  for (std::size_t i = 0; i < addresses.size(); ++i) {
    auto peer = link(addresses[i], deadline);
    if (peer) return peer;
    if (i == 0) first = std::move(peer);
  }
  return first;
}

// ---- a node keeps itself linked ----

/// Tries what is not linked; tells whether something still is not.
bool Cluster::link_missing() {
  std::vector<std::string> addresses;
  {
    std::lock_guard lock(mutex_);
    addresses = wanted_;
  }
  for (const auto& member : membership_->members()) addresses.push_back(member.address);
  bool missing = false;
  for (const auto& address : addresses) {
    if (address == hello_.address) continue;
    const auto failure = failures_.find(address);
    if (failure != failures_.end() && Clock::now() < failure->second.again) {
      missing |= failure->second.again != kNever;
      continue;
    }
    auto peer = link(address, Clock::now() + kConnectTimeout);
    if (peer) {
      failures_.erase(address);
      continue;
    }
    if (peer.error().code == Code::kExists) {  // this node by another name, or a former one
      failures_[address].again = kNever;
      std::lock_guard lock(mutex_);
      std::erase(wanted_, address);
      continue;
    }
    missing = true;
    note_failure(address, peer.error());
    if (std::lock_guard lock(mutex_); closing_) return false;
  }
  return missing;
}

/// It is tried again, less and less often, and each new reason is logged once.
void Cluster::note_failure(const std::string& address, const Error& why) {
  auto& failure = failures_[address];
  failure.pause = std::clamp(2 * failure.pause, Clock::duration(kRetryEvery), kLongestPause);
  failure.again = Clock::now() + failure.pause;
  const auto text = why.to_string();
  if (failure.why == text) return;
  failure.why = text;
  transport::log().warn("no link to {}: {}", address, text);
}

void Cluster::maintain() {
  std::unique_lock lock(mutex_);
  bool missing = false;
  while (!closing_) {
    const auto news = [&] { return closing_ || change_; };
    if (missing) {
      changed_.wait_for(lock, kRetryEvery, news);
    } else {
      changed_.wait(lock, news);
    }
    if (closing_) return;
    change_ = false;
    lock.unlock();
    missing = link_missing();
    lock.lock();
  }
}

}  // namespace mempool
