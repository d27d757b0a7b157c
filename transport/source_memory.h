// SourceMemory: memory of a writer that the owners of its large sets read one-sidedly.
//
// It is registered once, with FI_REMOTE_READ, and lent to one set after the other in slots of a few
// parts. A part is written anew only when its owner has answered, or when its set has failed: a
// read that comes late then sees other bytes, for a draft that is never published.
//
// Thread safety: every call from any thread.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <utility>

#include "transport/buffer.h"

namespace mempool::transport {

/// What an owner reads at a time.
inline constexpr std::size_t kPullPartBytes = std::size_t{1} << 20;

class SourceMemory {
 public:
  static constexpr std::size_t kSlots = 2;  // sets at a time
  static constexpr std::size_t kPartsOfSlot = 4;
  static constexpr std::size_t kBytes = kSlots * kPartsOfSlot * kPullPartBytes;

  /// Limit: the system has no memory.
  static Result<std::unique_ptr<SourceMemory>> make();

  std::span<std::byte> bytes() const noexcept { return {buffer_.data(), kBytes}; }

  /// What one set has of it, until the slot is dropped.
  class Slot {
   public:
    Slot(SourceMemory& memory, std::size_t index) noexcept : memory_(&memory), index_(index) {}
    Slot(Slot&& other) noexcept
        : memory_(std::exchange(other.memory_, nullptr)), index_(other.index_) {}
    Slot& operator=(Slot&&) = delete;
    ~Slot() {
      if (memory_) memory_->taken_[index_].store(false, std::memory_order_release);
    }

    /// Where the part stands in the memory.
    std::size_t offset_of(std::size_t part) const noexcept {
      return (index_ * kPartsOfSlot + part) * kPullPartBytes;
    }
    std::span<std::byte> part(std::size_t part) const noexcept {
      return memory_->bytes().subspan(offset_of(part), kPullPartBytes);
    }

   private:
    SourceMemory* memory_;
    std::size_t index_;
  };
  /// Nothing while all slots are taken.
  std::optional<Slot> take() noexcept;

 private:
  SourceMemory() = default;
  BufferPool pool_{/*idle_limit_bytes=*/0};
  Buffer buffer_;
  std::array<std::atomic<bool>, kSlots> taken_{};
};

}  // namespace mempool::transport
