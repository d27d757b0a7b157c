// The manifest that `load` prints and `verify` reads: what was stored, and where it came from.
#pragma once

#include <istream>
#include <string>
#include <vector>

#include <mempool/ref.h>
#include <mempool/result.h>

namespace mempool::programs {

struct ManifestEntry {
  std::string path;
  std::uint64_t bytes = 0;
  DRef ref;
};

std::string to_line(const ManifestEntry& entry);
Result<std::vector<ManifestEntry>> read_manifest(const std::string& path);

}  // namespace mempool::programs
