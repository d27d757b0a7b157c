#include "api/programs/settings.h"

#include "transport/provider.h"

namespace mempool::programs {
namespace {

std::string provider_names() {
  std::string names;
  for (const auto& provider : transport::known_providers())
    names += (names.empty() ? "" : ", ") + std::string(provider.name);
  return names;
}

}  // namespace

Words path_names() {
  Words names;
  for (const auto& provider : transport::known_providers()) names.emplace_back(provider.name);
  for (const auto name : {transport::kSharedMemoryName, transport::kMappedFilesName,
                          transport::kPushName, transport::kPullName})
    names.emplace_back(name);
  return names;
}

void Settings::declare(Configuration& to) {
  namespace level = spdlog::level;
  to.text("node", node, "HOST:PORT", "a node of the cluster (or environment MEMPOOL_NODE)");
  to.text("listen", pool.listen, "HOST:PORT", "where to serve; port 0 picks one");
  to.list("join", pool.join, "HOST:PORT", "another node of the cluster; it may start later");
  to.size("max-memsize", pool.max_memsize, "limit of payload bytes in memory");
  to.size("max-disksize", pool.max_disksize, "limit of spill files on disk; 0: what the disk has");
  to.directory_or_none("spill-dir", pool.spill_dir,
                       "where cold blobs go; none: nowhere, blobs set with drop-on-evict are "
                       "discarded and others stay in memory");
  to.flag("drop-on-evict", pool.drop_on_evict, "discard every blob instead of spilling it");
  to.choice<Policy>("policy", pool.policy, {{"lru", Policy::kLru}, {"mru", Policy::kMru}},
                    "which blobs go first: the least or the most recently used");
  to.text("cluster", pool.cluster, "NAME", "name of the cluster");
  auto paths = path_names();
  paths.insert(paths.begin(), "auto");
  to.names("provider", pool.providers, std::move(paths), "NAME[,NAME]",
           "allowed paths: fabric providers (" + provider_names() +
               "), shared (memory of nodes on this host), files (spill files that this process "
               "sees), push (sent by the owner), pull (large sets, over any provider); default: "
               "auto, the best that both sides have");
  to.flag("require-rdma", pool.require_rdma, "refuse to work without RDMA");
  to.flag("reread", pool.reread,
          "verify each one-sided read by a second one, however short it was: for machines that may "
          "be paused without their clock noticing");
  to.number("timeout-ms", pool.timeout_ms, 1, "MS", "patience with one operation");
  to.flag("insecure", pool.insecure,
          "serve on other than loopback addresses, without authentication");
  to.number("read-window-ms", pool.read_window_ms, 0, "MS",
            "peers verify a one-sided read that took longer once more; 0: every one");
  to.number("quarantine-ms", pool.quarantine_ms, 1, "MS",
            "how long freed memory waits before it is used again; more than read-window-ms");
  to.choice<level::level_enum>("log-level", log_level,
                               {{"debug", level::debug},
                                {"info", level::info},
                                {"warn", level::warn},
                                {"error", level::err},
                                {"off", level::off}},
                               "what goes to standard error");
}

}  // namespace mempool::programs
