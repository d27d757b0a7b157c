// What tests do with a pool, be it of this process or a client: blobs whose bytes follow from a
// seed, and where they are. must() ends the test where a call fails.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <vector>

#include <mempool/mempool.h>

#include "support/bytes.h"
#include "support/results.h"

namespace mempool::test {

inline DRef set(Pool& pool, std::uint64_t seed, std::uint64_t size = kMiB,
                const SetOptions& how = {}) {
  return must(pool.poolset(pattern(size, seed), how));
}

inline bool holds(Pool& pool, const DRef& ref, std::uint64_t seed) {
  const auto view = must(pool.poolget(ref));
  return same(view.bytes(), pattern(ref.length, seed));
}

/// "memory", "disk", "both", or the code of the error.
inline std::string where(Pool& pool, const DRef& ref) {
  const auto info = pool.inspect(ref);
  if (!info) return std::string(to_string(info.error().code));
  if (info->in_memory && info->on_disk) return "both";
  return info->in_memory ? "memory" : "disk";
}

inline std::vector<std::string> where_are(Pool& pool, std::initializer_list<DRef> refs) {
  std::vector<std::string> places;
  for (const auto& ref : refs) places.push_back(where(pool, ref));
  return places;
}

inline StoreStats store_stats(Pool& pool) {
  return must(pool.stats()).store;
}

/// How many gets of this process, through this pool, took a path: "push", "tcp (net)"...
inline std::uint64_t gets_by(const Pool& pool, const std::string& path) {
  const auto stats = pool.local_stats();
  const auto found = stats.gets_by_path.find(path);
  return found == stats.gets_by_path.end() ? 0 : found->second.gets;
}

}  // namespace mempool::test
