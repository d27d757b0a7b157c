// A mempoold to read from, and clients of it.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include <mempool/mempool.h>

#include "child.h"

namespace mempool::bench {

/// Where nodes listen: $MEMPOOL_BENCH_HOST, or else loopback. RDMA devices have no loopback
/// address.
std::string host();

/// `more`: further arguments of mempoold.
Child start_node(const std::filesystem::path& spill_directory, std::vector<std::string> more);

/// Reads by the one path alone: a provider, or "shared".
Pool client_of(const Child& node, const std::string& path);

/// The first provider of the node that does without RDMA.
std::string best_tcp_provider(const Child& node);
/// All of them, best first.
std::vector<std::string> providers_of(const Child& node);

/// Blobs of `bytes` bytes, all alike.
std::vector<DRef> set_blobs(Pool& pool, std::size_t count, std::uint64_t bytes);

}  // namespace mempool::bench
