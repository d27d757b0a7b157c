#include "transport/source_memory.h"

namespace mempool::transport {

Result<std::unique_ptr<SourceMemory>> SourceMemory::make() {
  std::unique_ptr<SourceMemory> memory(new SourceMemory);
  auto buffer = memory->pool_.take(kBytes);
  if (!buffer) return forward_error(std::move(buffer));
  memory->buffer_ = std::move(*buffer);
  return memory;
}

std::optional<SourceMemory::Slot> SourceMemory::take() noexcept {
  for (std::size_t i = 0; i < kSlots; ++i)
    if (!taken_[i].exchange(true, std::memory_order_acquire)) return Slot(*this, i);
  return std::nullopt;
}

}  // namespace mempool::transport
