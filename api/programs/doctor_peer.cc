// The way to one node: which path its bytes take, why not a better one, and how long a get takes.
#include <algorithm>
#include <array>
#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include <mempool/mempool.h>

#include "api/programs/doctor.h"
#include "api/programs/print.h"
#include "transport/address.h"
#include "transport/fabric_report.h"

namespace mempool::programs {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t kGets = 101;
constexpr std::size_t kBlobBytes = 64;

Finding unreachable(const std::string& peer, const Error& error) {
  Finding finding{Sign::kProblem, "peer", error.to_string(), {}};
  const auto who_listens =
      "ss -ltnp 'sport = :" + std::to_string(transport::parse_host_port(peer)->port) + "'";
  switch (error.code) {
    case Code::kWrongCluster:
      finding.remedy = {"mempool --cluster NAME doctor " + peer};
      break;
    case Code::kNoProvider:
      finding.remedy = {"mempool doctor   # on both machines: RDMA is required"};
      break;
    case Code::kVersionMismatch:
      finding.remedy = {"mempool --version   # on both machines"};
      break;
    case Code::kTimeout:
      finding.remedy = {who_listens + "   # on that machine: a mempoold, and does it run?",
                        "mempool --timeout-ms 60000 doctor " + peer};
      break;
    case Code::kProtocol:
      finding.remedy = {who_listens + "   # on that machine: it is no mempoold",
                        "mempool doctor HOST:PORT   # of a mempoold"};
      break;
    default:
      finding.remedy = {"mempoold --listen " + peer + " ...   # on that machine"};
  }
  return finding;
}

/// A blob of the doctor's own on the peer, for as long as this lives.
class Guest {
 public:
  static Result<Guest> put(Pool& pool) {
    std::array<std::byte, kBlobBytes> bytes{};
    auto ref = pool.poolset(bytes, {.type_name = "mempool doctor", .drop_on_evict = true});
    if (!ref) return forward_error(std::move(ref));
    return Guest(pool, *ref);
  }
  Guest(Guest&& other) noexcept : pool_(std::exchange(other.pool_, nullptr)), ref_(other.ref_) {}
  Guest& operator=(Guest&&) = delete;
  ~Guest() {
    if (pool_) (void)pool_->pooldelete(ref_);
  }
  const DRef& ref() const { return ref_; }

 private:
  Guest(Pool& pool, const DRef& ref) : pool_(&pool), ref_(ref) {}
  Pool* pool_;
  DRef ref_;
};

/// The path that most gets took, as "rdma (verbs)".
std::string usual_path(const Pool& pool) {
  std::string path;
  std::uint64_t most = 0;
  for (const auto& [name, counted] : pool.local_stats().gets_by_path)
    if (counted.gets > most) {
      most = counted.gets;
      path = name;
    }
  return path;
}

/// "verbs" of "rdma (verbs)"; empty for paths without a provider.
std::string provider_of(const std::string& path) {
  const auto open = path.find('(');
  const auto close = path.find(')');
  return open == std::string::npos ? std::string() : path.substr(open + 1, close - open - 1);
}

struct Reason {
  std::string text;
  bool mendable;  // one side has it
};

/// Why a provider that is better than the one in use is not; nothing when nobody asked for it.
std::optional<Reason> why_not(const transport::Provider& provider, const NodeInfo& peer,
                              const std::string& host, const ClusterOptions& options) {
  const std::string name(provider.name);
  const auto has = [](const std::vector<std::string>& names, const std::string& word) {
    return std::ranges::find(names, word) != names.end();
  };
  const bool automatic = options.providers.empty() || has(options.providers, "auto");
  if (!has(options.providers, name) && !(automatic && provider.automatic)) {
    if (!provider.automatic) return std::nullopt;
    return Reason{name + " is not allowed here", false};
  }
  const bool there = has(peer.providers, name);
  const auto here = transport::can_reach(provider, host);
  if (!there && !here) return Reason{name + " is neither there nor here", false};
  if (!there) return Reason{name + " is not offered there", true};
  if (!here) return Reason{name + " does not work here (" + here.error().message + ")", true};
  return Reason{name + " works on both sides, and its link failed", true};
}

/// Why the memory of a node on this host is not mapped; nothing for nodes elsewhere.
std::optional<Reason> why_not_shared(const std::string& host, const ClusterOptions& options) {
  if (!transport::is_own(host)) return std::nullopt;
  if (const auto paths = transport::choose_paths(options.providers, options.require_rdma);
      paths && !paths->shared_memory)
    return Reason{"shared memory is not allowed here", false};
  return Reason{"the node is on this host, and does not let this process map its memory", true};
}

Finding examine_path(const std::string& path, const NodeInfo& peer, const std::string& host,
                     const ClusterOptions& options) {
  Finding finding{Sign::kFine, "path", "bytes come by " + path, {}};
  const auto used = provider_of(path);
  // A path without a provider is the best there is, but for the owner's sending them.
  if (used.empty() && path != to_string(Path::kPush)) return finding;
  std::vector<std::optional<Reason>> reasons{why_not_shared(host, options)};
  for (const auto& provider : transport::known_providers()) {
    if (provider.name == used) break;
    reasons.push_back(why_not(provider, peer, host, options));
  }
  for (const auto& reason : reasons) {
    if (!reason) continue;
    finding.sentence += "; " + reason->text;
    if (!reason->mendable) continue;
    finding.sign = Sign::kWarning;
    finding.remedy = {"mempool doctor   # here, and on the machine of " + peer.address};
  }
  return finding;
}

/// Times of `count` calls, sorted.
template <class Call>
Result<std::vector<Clock::duration>> timed(std::size_t count, Call&& call) {
  std::vector<Clock::duration> times;
  while (times.size() < count) {
    const auto begin = Clock::now();
    auto done = call();
    times.push_back(Clock::now() - begin);
    if (!done) return forward_error(std::move(done));
  }
  std::ranges::sort(times);
  return times;
}

Finding trip_failed(const std::string& what, const Error& error) {
  return {Sign::kProblem,
          "round trip",
          what + " failed: " + error.to_string(),
          {"mempool stats   # of that node"}};
}

}  // namespace

Findings examine_peer(const std::string& peer, const ClusterOptions& options) {
  auto pool = Pool::connect(peer, options);
  if (!pool) return {unreachable(peer, pool.error())};
  auto guest = Guest::put(*pool);
  if (!guest)
    return {trip_failed("storing " + std::to_string(kBlobBytes) + " bytes", guest.error())};
  auto nodes = pool->nodes();
  if (!nodes) return {trip_failed("asking for the nodes", nodes.error())};
  const auto node = std::ranges::find(*nodes, guest->ref().id.node, &NodeInfo::id);
  if (node == nodes->end()) return {trip_failed("finding the node", {Code::kNotFound, peer})};

  auto gets = timed(kGets, [&] { return pool->poolget(guest->ref()); });
  if (!gets) return {trip_failed("a get", gets.error())};
  const auto named = transport::parse_host_port(peer)->host;
  const auto host = transport::resolve(named).value_or(named);
  const auto path = usual_path(*pool);
  auto requests = timed(kGets, [&] { return pool->inspect(guest->ref()); });
  if (!requests) return {trip_failed("a request", requests.error())};
  return {{Sign::kFine,
           "peer",
           peer + " answers; nodes of its cluster: " + std::to_string(nodes->size()),
           {}},
          examine_path(path, *node, host, options),
          {Sign::kFine,
           "round trip",
           "a get of 64 bytes takes " + microseconds((*gets)[kGets / 2]) + " by " + path +
               ", a request " + microseconds((*requests)[kGets / 2]) + " (medians of " +
               std::to_string(kGets) + ")",
           {}}};
}

}  // namespace mempool::programs
