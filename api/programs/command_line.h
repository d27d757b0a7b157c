// What the programs' command lines have in common: sizes, providers, exit statuses.
//
// Exit status: 0 done, 1 the operation failed (code and reason on standard error), 2 wrong usage.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include <mempool/options.h>
#include <mempool/result.h>

namespace CLI {
class App;
}

namespace mempool::programs {

/// A size: plain bytes, "64MiB" (2^20), "1GB" (10^9).
void add_size(CLI::App& app, const std::string& flag, std::uint64_t& value,
              const std::string& what);

/// --cluster, --provider, --require-rdma, --timeout-ms.
void add_cluster_options(CLI::App& app, ClusterOptions& options);

/// Nothing when the program should go on, else its exit status: help was asked for, or usage is
/// wrong.
std::optional<int> parse(CLI::App& app, int argc, char** argv);

/// Says what failed; returns exit status 1.
int failed(const std::string& program, const Error& error);

/// A node id as it is printed and typed.
std::string node_text(std::uint64_t id);

}  // namespace mempool::programs
