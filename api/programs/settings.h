// The settings of mempoold and mempool, declared once: name, meaning, default.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <spdlog/common.h>

#include <mempool/options.h>

#include "api/programs/configuration.h"

namespace mempool::programs {

struct Settings {
  std::string node;  // whom a client asks, HOST:PORT
  PoolOptions pool;  // of which a client uses the ClusterOptions
  spdlog::level::level_enum log_level = spdlog::level::info;

  void declare(Configuration& configuration);
};

/// What a path is called where people say which are allowed: the fabric providers, and those beside
/// them.
Words path_names();

/// For Configuration::offer: what all programs need to take part in a cluster, ...
inline const std::vector<std::string_view> kClusterSettings = {
    "cluster", "provider", "require-rdma", "reread", "timeout-ms", "log-level"};
/// ... and what only nodes have.
inline const std::vector<std::string_view> kNodeSettings = {
    "listen",        "join",   "max-memsize", "max-disksize",   "spill-dir",
    "drop-on-evict", "policy", "insecure",    "read-window-ms", "quarantine-ms",
};

}  // namespace mempool::programs
