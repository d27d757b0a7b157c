// How the command line shows what it learned: for people, or as JSON with --json.
#pragma once

#include <chrono>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include <mempool/info.h>

namespace mempool::programs {

std::string show(const BlobInfo& info, bool json);
std::string show(const std::vector<NodeInfo>& nodes, bool json);
std::string show(const Stats& stats, bool json);

/// Never fails: names of files and of types may be in any encoding, and what is not UTF-8 is
/// replaced.
std::string json_text(const nlohmann::ordered_json& value);

/// For a terminal: control bytes are written \x1b.
std::string printable(std::string_view text);

/// "1.5 GiB"
std::string human_bytes(std::uint64_t bytes);
/// "1.5 us"
std::string microseconds(std::chrono::nanoseconds time);

}  // namespace mempool::programs
