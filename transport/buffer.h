// Buffer: registered, reference-counted memory for bytes that arrive over a fabric, from a free
// list.
//
// A warm get takes a block from the list and gives it back: it neither allocates nor registers.
// Blocks come in powers of two up to kMaxPooledBytes; larger ones are made for the occasion.
// The list keeps at most its limit of idle bytes; the memory of others goes back to the system.
//
// Thread safety: Buffer is a handle like std::shared_ptr; BufferPool from any thread. The pool
// outlives its buffers.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>

#include <mempool/detail/forks.h>
#include <mempool/result.h>

namespace mempool::transport {

class BufferPool;

/// Memory with a reference count; its registrations hang on it.
struct BufferBlock {
  std::byte* data = nullptr;
  std::size_t capacity_bytes = 0;
  std::atomic<std::uint32_t> references{0};
  BufferBlock* next = nullptr;  // on the free list
  std::shared_ptr<void>
      registered;  // the fabric's; made at the first use with one that asks for it
  const void* registered_with = nullptr;
  BufferPool* pool = nullptr;
};

class Buffer {
 public:
  Buffer() = default;
  /// Takes one reference over.
  explicit Buffer(BufferBlock* block) noexcept : block_(block) {}
  Buffer(const Buffer& other) noexcept : block_(other.block_) {
    if (block_) block_->references.fetch_add(1, std::memory_order_relaxed);
  }
  Buffer(Buffer&& other) noexcept : block_(std::exchange(other.block_, nullptr)) {}
  Buffer& operator=(Buffer other) noexcept {
    std::swap(block_, other.block_);
    return *this;
  }
  ~Buffer() {
    if (block_ && block_->references.fetch_sub(1, std::memory_order_acq_rel) == 1) give_back();
  }

  explicit operator bool() const noexcept { return block_ != nullptr; }
  std::byte* data() const noexcept { return block_->data; }
  std::size_t capacity_bytes() const noexcept { return block_->capacity_bytes; }
  BufferBlock* block() const noexcept { return block_; }
  /// Gives the reference to the caller.
  BufferBlock* release() noexcept { return std::exchange(block_, nullptr); }

 private:
  void give_back() noexcept;

  BufferBlock* block_ = nullptr;
};

class BufferPool {
 public:
  static constexpr std::size_t kMinBytes = 4096;
  static constexpr std::size_t kMaxPooledBytes = std::size_t{64} << 20;
  static constexpr std::size_t kMaxBytes = std::size_t{1} << 46;

  explicit BufferPool(std::size_t idle_limit_bytes = std::size_t{256} << 20);
  /// All buffers have come back.
  ~BufferPool();
  BufferPool(const BufferPool&) = delete;
  BufferPool& operator=(const BufferPool&) = delete;

  /// At least `bytes` of page-aligned memory. Limit: the system gives none.
  Result<Buffer> take(std::size_t bytes);

  /// Drops idle blocks and their registrations; before a fabric closes.
  void trim() noexcept;

 private:
  friend class Buffer;
  void give_back(BufferBlock* block) noexcept;
  void drop(BufferBlock* block) noexcept;
  struct State;
  std::unique_ptr<State> state_;
  const unsigned forks_ = current_forks();
};

}  // namespace mempool::transport
