#include "transport/buffer.h"

#include <mempool/buffer.h>

namespace mempool {

using Block = transport::BufferBlock;

Buffer::Buffer(const Buffer& other) noexcept : block_(other.block_), bytes_(other.bytes_) {
  if (block_) static_cast<Block*>(block_)->references.fetch_add(1, std::memory_order_relaxed);
}

Buffer::~Buffer() {
  if (block_) transport::Buffer dropped(static_cast<Block*>(block_));
}

}  // namespace mempool
