#include "spill/mapped_files.h"

#include <algorithm>
#include <atomic>
#include <fstream>
#include <new>
#include <string>

namespace mempool::spill {
namespace {

// Less than what an allocator maps by itself (128 KiB for glibc's).
constexpr std::uint64_t kLargestCopy = std::uint64_t{64} << 10;
constexpr std::uint64_t kCopiedBytes = std::uint64_t{64} << 20;
// What the allocator and the view take beside the bytes.
constexpr std::uint64_t kCopyOverhead = 128;
constexpr std::align_val_t kAlignment{64};

std::atomic<std::uint64_t> mapped{0};
std::atomic<std::uint64_t> copied_bytes{0};

std::uint64_t system_limit() {
  constexpr std::uint64_t kDefault = 65'530;  // Linux's own
  std::uint64_t limit = 0;
  std::ifstream("/proc/sys/vm/max_map_count") >> limit;
  return limit ? limit : kDefault;
}

}  // namespace

std::uint64_t MappedFiles::most() {
  static const auto quarter = std::max<std::uint64_t>(system_limit() / 4, 2);
  return quarter;
}

bool MappedFiles::may_keep_one() {
  return mapped.load(std::memory_order_relaxed) < most() / 2;
}

bool MappedFiles::take_one() {
  if (mapped.fetch_add(1, std::memory_order_relaxed) < most()) return true;
  give_back_one();
  return false;
}

void MappedFiles::give_back_one() noexcept {
  mapped.fetch_sub(1, std::memory_order_relaxed);
}

std::byte* MappedFiles::take_copy(std::uint64_t bytes) {
  if (bytes > kLargestCopy) return nullptr;
  const auto counted = bytes + kCopyOverhead;
  void* memory = nullptr;
  if (copied_bytes.fetch_add(counted, std::memory_order_relaxed) + counted <= kCopiedBytes)
    memory = ::operator new(bytes, kAlignment, std::nothrow);
  if (memory == nullptr) copied_bytes.fetch_sub(counted, std::memory_order_relaxed);
  return static_cast<std::byte*>(memory);
}

void MappedFiles::give_back_copy(std::span<const std::byte> bytes) noexcept {
  copied_bytes.fetch_sub(bytes.size() + kCopyOverhead, std::memory_order_relaxed);
  ::operator delete(const_cast<std::byte*>(bytes.data()), kAlignment);
}

tl::unexpected<Error> MappedFiles::too_many(const FileRef& file) {
  return fail(Code::kLimit,
              "no view of " + file.path + ": this process shows as many files as it may, " +
                  std::to_string(most()) +
                  " mappings, a quarter of vm.max_map_count. Drop views, read the blob in parts, "
                  "or raise that (sysctl -w vm.max_map_count=" +
                  std::to_string(most() * 4 * 4) + ") and start the program again");
}

}  // namespace mempool::spill
