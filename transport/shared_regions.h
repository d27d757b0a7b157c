// SharedRegions: a node's memory, mapped read-only into a reader on the same host.
//
// A copy is a memcpy and two looks at the header: no system call, nothing of the owner's processor.
// A view in place takes a hazard slot for as long as it lives; without a free slot the caller
// copies. Both are verified by transport/verification.
//
// Thread safety: every call from any thread.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <mempool/detail/forks.h>
#include <mempool/ref.h>
#include <mempool/result.h>
#include <mempool/view.h>

#include "transport/hazard_slots.h"
#include "transport/region_handover.h"
#include "transport/verification.h"

namespace mempool::transport {

class SharedRegions : public std::enable_shared_from_this<SharedRegions> {
 public:
  /// `name`: of the owner's door, from its hello; `region_bytes` too. NotFound: there is no such
  /// door on this host. Unavailable: the owner does not let this session in.
  static Result<std::shared_ptr<SharedRegions>> attach(const std::string& name,
                                                       const SessionId& session,
                                                       std::span<const std::uint64_t> region_bytes,
                                                       std::chrono::milliseconds timeout);
  ~SharedRegions();
  SharedRegions(const SharedRegions&) = delete;
  SharedRegions& operator=(const SharedRegions&) = delete;

  /// Copies payload bytes [offset, offset + out.size()). The whole blob lies in the region: hints
  /// are checked before. Rejected: the bytes in `out` are undefined.
  Verdict copy(const LocationHint& hint, const ExpectedBlob& blob, std::uint64_t offset,
               std::span<std::byte> out) const noexcept;

  /// Shows the blob in place. The view keeps the mapping and the slot, also when the owner or the
  /// connection to it has ended. Nothing: all slots are taken.
  struct InPlace {
    Verdict verdict;
    View view;
  };
  std::optional<InPlace> show(const LocationHint& hint, const ExpectedBlob& blob);

 private:
  struct Mapped {
    const std::byte* data;
    std::size_t bytes;
  };

  SharedRegions() = default;
  Status map(std::span<const int> descriptors, std::span<const std::uint64_t> region_bytes);
  const std::byte* header_of(const LocationHint& hint) const noexcept {
    return regions_[hint.region].data + hint.offset;
  }
  std::optional<std::size_t> take_slot() noexcept;
  void free_slot(std::size_t slot) noexcept;
  static void drop_view(void* owner, void* slot) noexcept;

  static constexpr std::size_t kSlotsPerWord = 64;

  const unsigned forks_ = current_forks();
  int socket_ = -1;  // its end is the end of the slots
  std::vector<Mapped> regions_;
  HazardPage* page_ = nullptr;
  std::array<std::atomic<std::uint64_t>, kHazardSlots / kSlotsPerWord> taken_{};  // a bit a slot
  // One a slot: a view in place keeps all of this alive.
  std::array<std::shared_ptr<SharedRegions>, kHazardSlots> kept_;
};

}  // namespace mempool::transport
