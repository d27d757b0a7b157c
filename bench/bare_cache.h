// The least that a cache inside one process can do: a hash map and a block of malloc's for each
// blob.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <unordered_map>
#include <vector>

#include <mempool/ref.h>

#include "support.h"

namespace mempool::bench {

class BareCache {
 public:
  /// Blobs of `bytes` bytes, all alike, under the same keys as the references.
  BareCache(const std::vector<DRef>& refs, std::uint64_t bytes) : bytes_(bytes) {
    const auto payload = make_bytes(bytes);
    blobs_.reserve(refs.size());
    for (const auto& ref : refs) {
      auto block = std::make_unique_for_overwrite<std::byte[]>(bytes);
      std::memcpy(block.get(), payload.data(), bytes);
      blobs_.emplace(ref.id.object, std::move(block));
    }
  }

  const std::byte* find(const DRef& ref) const {
    const auto found = blobs_.find(ref.id.object);
    if (found == blobs_.end()) stop("the map lost a key");
    return found->second.get();
  }
  void copy(const DRef& ref, std::span<std::byte> into) const {
    std::memcpy(into.data(), find(ref), bytes_);
  }

 private:
  const std::uint64_t bytes_;
  std::unordered_map<std::uint64_t, std::unique_ptr<std::byte[]>> blobs_;
};

}  // namespace mempool::bench
