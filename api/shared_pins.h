// What readers on this host hold in place, as the store asks for it: hazard slots, which the store
// does not know.
#pragma once

#include <vector>

#include "store/remote_pins.h"
#include "transport/hazard_slots.h"

namespace mempool {

class SharedPins final : public store::RemotePins {
 public:
  transport::HazardPages& pages() noexcept { return pages_; }

  void collect(std::vector<Place>& held) const override {
    std::vector<transport::HazardPlace> places;
    pages_.collect(places);
    for (const auto& place : places) held.push_back({place.region, place.offset});
  }

 private:
  transport::HazardPages pages_;
};

}  // namespace mempool
