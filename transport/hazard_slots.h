// Hazard slots: how a reader in another process keeps a blob that it looks at in place.
//
// A page of slots per session, made by the owner and writable for the reader. The reader writes the
// blob's place to a slot, fences, and verifies the header; the owner marks a blob dead, fences, and
// before its memory is used again looks whether a slot names it (M. M. Michael, "Hazard pointers:
// safe memory reclamation for lock-free objects", IEEE TPDS 15(6), 2004, across processes). The
// owner takes what stands in slots for hostile: all that it can do is to delay the reuse of memory.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include <mempool/result.h>

namespace mempool::transport {

inline constexpr std::size_t kHazardSlots = 256;  // views in place of one session at once

/// The shared page. A slot holds 0 or the place of a blob's header.
struct HazardPage {
  std::array<std::atomic<std::uint64_t>, kHazardSlots> slots;
};
static_assert(std::atomic<std::uint64_t>::is_always_lock_free);

/// A blob's header in an owner's memory. Offsets are multiples of 64.
struct HazardPlace {
  std::uint32_t region = 0;
  std::uint64_t offset = 0;

  static constexpr int kRegionShift = 56;
  std::uint64_t word() const noexcept {
    return (std::uint64_t{region} << kRegionShift) | (offset / 64 + 1);
  }
  static std::optional<HazardPlace> of_word(std::uint64_t word) noexcept {
    const auto line = word & ((std::uint64_t{1} << kRegionShift) - 1);
    if (line == 0) return std::nullopt;
    return HazardPlace{static_cast<std::uint32_t>(word >> kRegionShift), (line - 1) * 64};
  }
};

/// The owner's side: the pages of all readers that are attached. Thread safety: every call from any
/// thread; no call does I/O under the lock.
class HazardPages {
 public:
  /// One reader's page: a sealed memfd. Its slots count until it is closed.
  class Page {
   public:
    ~Page();
    Page(const Page&) = delete;
    Page& operator=(const Page&) = delete;
    int descriptor() const noexcept { return descriptor_; }

   private:
    friend class HazardPages;
    Page(HazardPages& all, int descriptor, const HazardPage* page) noexcept;
    HazardPages& all_;
    const int descriptor_;
    const HazardPage* const page_;
  };

  /// The pages outlive none of their readers: this outlives them. Limit, Io.
  Result<std::unique_ptr<Page>> make_page();

  /// Appends what is held now.
  void collect(std::vector<HazardPlace>& held) const;

 private:
  mutable std::mutex mutex_;
  std::vector<const HazardPage*> pages_;
  std::atomic<std::size_t> count_{0};
};

}  // namespace mempool::transport
