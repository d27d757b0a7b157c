// What the store needs to know of readers in other processes that look at its memory in place.
#pragma once

#include <cstdint>
#include <vector>

namespace mempool::store {

class RemotePins {
 public:
  virtual ~RemotePins() = default;

  /// A blob's header: region, and offset in it in bytes.
  struct Place {
    std::uint32_t region;
    std::uint64_t offset;
  };

  /// Appends the places that are held now. Places that hold no blob are harmless: readers write
  /// what they like. Called under the table lock: does no I/O.
  virtual void collect(std::vector<Place>& held) const = 0;
};

}  // namespace mempool::store
