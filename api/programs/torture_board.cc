#include "api/programs/torture_board.h"

#include <new>
#include <utility>

#include <sys/mman.h>
#include <unistd.h>

#include "api/programs/system_error.h"

namespace mempool::torture {

using programs::system_error;

void ChurnerPart::hand_over(const Handed& handed) {
  const auto turn = handed_over_.load(std::memory_order_relaxed);
  Slot& slot = slots_[turn % kHanded];
  std::array<std::uint64_t, kWords> words;
  std::memcpy(words.data(), &handed, sizeof handed);
  slot.sequence.store(2 * turn + 1, std::memory_order_relaxed);
  std::atomic_thread_fence(std::memory_order_release);
  for (std::size_t i = 0; i < kWords; ++i) slot.words[i].store(words[i], std::memory_order_relaxed);
  slot.sequence.store(2 * turn + 2, std::memory_order_release);
  handed_over_.store(turn + 1, std::memory_order_release);
}

std::optional<Handed> ChurnerPart::handed(std::uint64_t ago) const {
  const auto turns = handed_over_.load(std::memory_order_acquire);
  if (ago >= turns || ago >= kHanded) return std::nullopt;
  const Slot& slot = slots_[(turns - 1 - ago) % kHanded];
  const auto before = slot.sequence.load(std::memory_order_acquire);
  std::array<std::uint64_t, kWords> words;
  for (std::size_t i = 0; i < kWords; ++i) words[i] = slot.words[i].load(std::memory_order_relaxed);
  std::atomic_thread_fence(std::memory_order_acquire);
  if (before % 2 != 0 || slot.sequence.load(std::memory_order_relaxed) != before)
    return std::nullopt;
  Handed handed;
  std::memcpy(static_cast<void*>(&handed), words.data(), sizeof handed);
  return handed;
}

void RetryPart::add(const std::string& reason, std::uint64_t n) {
  for (std::size_t i = 0; i < kReasons; ++i) {
    const auto name = names[i].get();
    if (name.empty()) names[i].set(reason);
    if (name.empty() || name == reason) return counts[i].add(n);
  }
}

Result<SharedBoard> SharedBoard::create() {
  const int descriptor = memfd_create("mempool-torture", 0);  // inherited
  if (descriptor < 0) return system_error("no memory to share");
  if (ftruncate(descriptor, sizeof(Board)) != 0) {
    auto error = system_error("no memory to share");
    close(descriptor);
    return error;
  }
  auto board = of_descriptor(descriptor);
  if (board) ::new (board->board_) Board;
  return board;
}

Result<SharedBoard> SharedBoard::of_descriptor(int descriptor) {
  void* mapped = mmap(nullptr, sizeof(Board), PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
  if (mapped == MAP_FAILED) return system_error("no memory to share");
  return SharedBoard(descriptor, static_cast<Board*>(mapped));
}

SharedBoard::SharedBoard(SharedBoard&& other) noexcept
    : descriptor_(std::exchange(other.descriptor_, -1)),
      board_(std::exchange(other.board_, nullptr)) {}

SharedBoard::~SharedBoard() {
  if (board_) munmap(board_, sizeof(Board));
  if (descriptor_ >= 0) close(descriptor_);
}

}  // namespace mempool::torture
