// Buffer: memory for what a get brings, that fabrics know.
//
// It is registered with the fabric that first brings bytes to it, again only when another fabric
// does, and comes from a free list of the pool: a program that reads blob after blob into the same
// Buffer neither allocates, nor registers, nor copies on its side of a fabric.
//
// A Buffer is a handle: copies show the same memory, which goes back to the pool with the last of
// them. Thread safety: that of std::shared_ptr. Buffers must be dropped before their Pool.
#pragma once

#include <cstddef>
#include <span>
#include <utility>

namespace mempool {

class Buffer {
 public:
  /// No memory: Pool::buffer() makes those that have some.
  Buffer() = default;
  Buffer(const Buffer& other) noexcept;
  Buffer(Buffer&& other) noexcept
      : block_(std::exchange(other.block_, nullptr)), bytes_(std::exchange(other.bytes_, {})) {}
  Buffer& operator=(Buffer other) noexcept {
    std::swap(block_, other.block_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~Buffer();

  explicit operator bool() const noexcept { return block_ != nullptr; }
  /// All of it, at least as many bytes as were asked for, aligned to 64; what a get brought stands
  /// at the start.
  std::span<std::byte> bytes() const noexcept { return bytes_; }

 private:
  friend struct BufferAccess;
  void* block_ = nullptr;
  std::span<std::byte> bytes_;
};

}  // namespace mempool
