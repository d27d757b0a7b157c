// How the command line shows what it learned: for people, or as JSON with --json.
#pragma once

#include <string>
#include <vector>

#include <mempool/info.h>

namespace mempool::programs {

std::string show(const BlobInfo& info, bool json);
std::string show(const std::vector<NodeInfo>& nodes, bool json);
std::string show(const Stats& stats, bool json);

/// "1.5 GiB"
std::string human_bytes(std::uint64_t bytes);

}  // namespace mempool::programs
