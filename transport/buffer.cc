#include "transport/buffer.h"

#include <array>
#include <bit>
#include <cassert>
#include <mutex>
#include <new>

#include <sys/mman.h>

namespace mempool::transport {
namespace {

constexpr std::size_t kClasses =
    std::bit_width(BufferPool::kMaxPooledBytes) - std::bit_width(BufferPool::kMinBytes) + 1;

// A hole between blocks that are held takes one more of the mappings that the system lets a process
// have. Blocks up to this size, of which there may be many, leave none: they give their memory
// back, not their place.
constexpr std::size_t kKeepsItsPlace = std::size_t{1} << 20;

std::size_t size_class(std::size_t capacity) {
  return std::bit_width(capacity) - std::bit_width(BufferPool::kMinBytes);
}

void destroy(BufferBlock* block) noexcept {
  block->registered.reset();
  munmap(block->data, block->capacity_bytes);
  delete block;
}

}  // namespace

struct BufferPool::State {
  std::mutex mutex;
  std::array<BufferBlock*, kClasses> free{};
  std::array<BufferBlock*, kClasses> emptied{};  // their memory was given back
  std::size_t idle_bytes = 0;
  std::size_t idle_limit_bytes = 0;
};

void Buffer::give_back() noexcept {
  block_->pool->give_back(block_);
}

BufferPool::BufferPool(std::size_t idle_limit_bytes) : state_(std::make_unique<State>()) {
  state_->idle_limit_bytes = idle_limit_bytes;
}

BufferPool::~BufferPool() {
  trim();
}

Result<Buffer> BufferPool::take(std::size_t bytes) {
  // Lengths come from outside: none may wrap when it is rounded.
  if (bytes > kMaxBytes)
    return fail(Code::kInvalidArgument, "no blob has " + std::to_string(bytes) + " bytes");
  const bool pooled = bytes <= kMaxPooledBytes;
  const std::size_t capacity = pooled ? std::bit_ceil(std::max(bytes, kMinBytes))
                                      : (bytes + kMinBytes - 1) & ~(kMinBytes - 1);
  if (pooled) {
    std::lock_guard lock(state_->mutex);
    const auto own = size_class(capacity);
    const bool idle = state_->free[own] != nullptr;
    auto*& head = idle ? state_->free[own] : state_->emptied[own];
    if (BufferBlock* block = head) {
      head = block->next;
      if (idle) state_->idle_bytes -= capacity;
      block->references.store(1, std::memory_order_relaxed);
      return Buffer(block);
    }
  }
  void* memory =
      mmap(nullptr, capacity, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED)
    return fail(Code::kLimit, "the system has no memory for a buffer of " +
                                  std::to_string(capacity) + " bytes; read the blob in parts");
  // A fork must not make the fabric's pages copy-on-write.
  madvise(memory, capacity, MADV_DONTFORK);
  auto* block = new (std::nothrow) BufferBlock;
  if (!block) {
    munmap(memory, capacity);
    return fail(Code::kLimit, "the system has no memory for a buffer");
  }
  block->data = static_cast<std::byte*>(memory);
  block->capacity_bytes = capacity;
  block->references.store(1, std::memory_order_relaxed);
  block->pool = this;
  return Buffer(block);
}

/// The list keeps what came back last: sizes that nobody asks for any more make room for it.
void BufferPool::give_back(BufferBlock* block) noexcept {
  // A forked child has no part in the memory, whose addresses are something else's there.
  if (current_forks() != forks_) return;
  const auto bytes = block->capacity_bytes;
  if (bytes > kMaxPooledBytes || bytes > state_->idle_limit_bytes) return drop(block);
  BufferBlock* dropped = nullptr;
  {
    std::lock_guard lock(state_->mutex);
    const auto own = size_class(bytes);
    for (std::size_t other = kClasses; other-- > 0;) {
      auto*& head = state_->free[other];
      while (other != own && head && state_->idle_bytes + bytes > state_->idle_limit_bytes) {
        auto* old = std::exchange(head, head->next);
        state_->idle_bytes -= old->capacity_bytes;
        old->next = std::exchange(dropped, old);
      }
    }
    if (state_->idle_bytes + bytes <= state_->idle_limit_bytes) {
      block->next = std::exchange(state_->free[own], block);
      state_->idle_bytes += bytes;
    } else {
      block->next = std::exchange(dropped, block);
    }
  }
  while (dropped) drop(std::exchange(dropped, dropped->next));
}

void BufferPool::drop(BufferBlock* block) noexcept {
  const auto bytes = block->capacity_bytes;
  block->registered.reset();
  block->registered_with = nullptr;
  if (bytes > kKeepsItsPlace || madvise(block->data, bytes, MADV_DONTNEED) != 0)
    return destroy(block);
  std::lock_guard lock(state_->mutex);
  block->next = std::exchange(state_->emptied[size_class(bytes)], block);
}

void BufferPool::trim() noexcept {
  std::lock_guard lock(state_->mutex);
  for (auto* heads : {&state_->free, &state_->emptied})
    for (auto*& head : *heads)
      while (head) destroy(std::exchange(head, head->next));
  state_->idle_bytes = 0;
}

}  // namespace mempool::transport
