// Who a reference belongs to, and random numbers for new identities.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include <mempool/ref.h>
#include <mempool/result.h>

namespace mempool {

/// The cluster id of a cluster name, and the node id of an address: stable across restarts.
std::uint64_t id_of_name(std::string_view name);

/// Never 0.
Result<std::uint64_t> random_id();

/// Node ids are printed as 16 hexadecimal digits.
std::string id_text(std::uint64_t id);

/// Whether `ref` belongs to `life` (cluster, node and incarnation of a node now).
Status check_identity(const BlobId& ref, const BlobId& life);

}  // namespace mempool
