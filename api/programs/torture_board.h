// Board: what the processes of one torture run share - its plan, the references that are handed to
// readers, and everybody's counters. It lies in a memfd that every process inherits.
//
// Every counter has one writer at a time and survives it, so that a reader may be killed anywhere.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>

#include <mempool/ref.h>
#include <mempool/result.h>
#include <mempool/view.h>

namespace mempool::torture {

inline constexpr std::uint32_t kMaxOwners = 8;
inline constexpr std::uint32_t kMaxReaders = 16;
inline constexpr std::uint32_t kMaxThreads = 8;  // of one reader
inline constexpr std::size_t kCodes = 32;        // more than there are in result.h

/// A fixed text that may lie in shared memory.
template <std::size_t kBytes>
struct Text {
  std::array<char, kBytes> characters{};
  void set(const std::string& text) {
    characters = {};
    text.copy(characters.data(), kBytes - 1);
  }
  std::string get() const { return characters.data(); }
};

/// What a run does: written before the others start.
struct Plan {
  Text<32> path;
  std::uint32_t seed = 0;
  std::uint32_t owners = 0;
  std::uint32_t readers = 0;
  std::uint32_t threads = 0;  // of a reader
  std::uint64_t smallest = 0;
  std::uint64_t largest = 0;
  std::uint64_t max_memsize = 0;  // of an owner
  std::uint32_t read_window_ms = 0;
  std::uint32_t quarantine_ms = 0;
  std::array<Text<64>, kMaxOwners> addresses;  // HOST:PORT
};

/// A counter with one writer: no read-modify-write, so that counting costs nothing.
class Count {
 public:
  void add(std::uint64_t n = 1) {
    value_.store(value_.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
  }
  std::uint64_t get() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<std::uint64_t> value_{0};
};

using Refusals = std::array<Count, kCodes>;  // by Code

/// A blob that was handed over.
struct Handed {
  DRef ref;
  std::uint64_t number = 0;  // what its bytes follow from; of each churner's own, counting up
};

/// What one churner says: it alone writes here.
struct alignas(64) ChurnerPart {
  Count sets;
  Count set_bytes;
  Count deletes;
  Count moves_to_disk;
  Count promotions;
  Refusals refusals;
  std::atomic<std::uint64_t> evictions{0};  // the owner's own count, in its last life

  /// The references that were handed over last; readers come and go unseen.
  void hand_over(const Handed& handed);
  /// The one that was handed over `ago` before the last; nothing when it is being overwritten.
  std::optional<Handed> handed(std::uint64_t ago) const;

  /// Before a blob is deleted: from now on it may be gone.
  void condemn(std::uint64_t number) { condemned(number).store(number, std::memory_order_release); }
  /// Whether it may be gone. Of very old numbers this is not known any more: they may.
  bool may_be_gone(std::uint64_t number) {
    return condemned(number).load(std::memory_order_acquire) >= number;
  }

  static constexpr std::uint64_t kHanded = 1024;

 private:
  static constexpr std::size_t kWords = sizeof(Handed) / sizeof(std::uint64_t);
  static_assert(std::is_trivially_copyable_v<Handed> && sizeof(Handed) % 8 == 0);
  /// A sequence lock: odd while it is written.
  struct Slot {
    std::atomic<std::uint64_t> sequence{0};
    std::array<std::atomic<std::uint64_t>, kWords> words{};
  };

  std::atomic<std::uint64_t>& condemned(std::uint64_t number) {
    return condemned_[number / kMaxOwners % condemned_.size()];
  }

  std::atomic<std::uint64_t> handed_over_{0};
  std::array<Slot, kHanded> slots_;
  std::array<std::atomic<std::uint64_t>, 1U << 16> condemned_{};
};

/// What a reader's pool says of reads that were not accepted at once; the reason counts once its
/// name is there.
struct RetryPart {
  static constexpr std::size_t kReasons = 8;
  std::array<Text<24>, kReasons> names;
  std::array<Count, kReasons> counts;

  void add(const std::string& reason, std::uint64_t n);
};

/// What one thread of a reader says.
struct alignas(64) ReaderPart {
  Count views;
  Count buffers;  // gets into a Buffer
  Count copies;   // of whole blobs
  Count parts;    // copies of a part
  Count held;     // views that were compared again after they had been held
  Count bytes;    // compared
  Count wrong;    // accepted, and not the blob's bytes
  Count lost;     // NotFound, though nobody deletes the blob
  std::array<Count, kPathCount> views_by_path;
  Refusals refusals;
  std::atomic<std::uint64_t> reading_bytes{0};  // of the read that is under way
  Text<192> first_wrong;

  std::uint64_t accepted() const {
    return views.get() + buffers.get() + copies.get() + parts.get();
  }
};

struct Board {
  std::atomic<bool> stop{false};
  Plan plan;
  std::array<ChurnerPart, kMaxOwners> churners;
  std::array<std::array<ReaderPart, kMaxThreads>, kMaxReaders> readers;
  std::array<RetryPart, kMaxReaders> retries;
};

/// A process's mapping of the board.
class SharedBoard {
 public:
  static Result<SharedBoard> create();
  /// As it was inherited.
  static Result<SharedBoard> of_descriptor(int descriptor);
  SharedBoard(SharedBoard&&) noexcept;
  SharedBoard& operator=(SharedBoard&&) = delete;
  ~SharedBoard();

  Board& operator*() const { return *board_; }
  Board* operator->() const { return board_; }
  int descriptor() const { return descriptor_; }

 private:
  SharedBoard(int descriptor, Board* board) : descriptor_(descriptor), board_(board) {}
  int descriptor_;
  Board* board_;
};

}  // namespace mempool::torture
