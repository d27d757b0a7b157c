// A public Buffer and the block of the transport that it stands for.
#pragma once

#include <mempool/buffer.h>
#include <mempool/view.h>

#include "transport/buffer.h"
#include "transport/one_sided.h"

namespace mempool {

inline void drop_buffer(void* block, void*) noexcept {
  transport::Buffer dropped(static_cast<transport::BufferBlock*>(block));
}

/// Of bytes in `buffer`, which goes back when the view does.
inline View buffer_view(transport::Buffer buffer, std::span<const std::byte> bytes, Path path) {
  return View(bytes, path, drop_buffer, buffer.release(), nullptr);
}

struct BufferAccess {
  /// Room for a header stands in front of what the user sees.
  static Buffer wrap(transport::Buffer buffer) noexcept {
    Buffer wrapped;
    if (!buffer) return wrapped;
    const auto room = transport::kHeaderRoomBytes;
    wrapped.bytes_ = {buffer.data() + room, buffer.capacity_bytes() - room};
    wrapped.block_ = buffer.release();
    return wrapped;
  }

  /// The block; the Buffer is left empty.
  static transport::Buffer take(Buffer& buffer) noexcept {
    buffer.bytes_ = {};
    return transport::Buffer(
        static_cast<transport::BufferBlock*>(std::exchange(buffer.block_, nullptr)));
  }
};

}  // namespace mempool
