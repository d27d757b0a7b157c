// Region: a sealed memfd that the pool maps writable and everybody else can only read.
#pragma once

#include <cstddef>
#include <span>

#include <mempool/result.h>

namespace mempool::store {

/// Sealed SHRINK | GROW | FUTURE_WRITE | SEAL once mapped: a process that receives the descriptor
/// can neither map it writable nor truncate it. MADV_DONTFORK and MADV_DONTDUMP. Move-only.
class Region {
 public:
  static Result<Region> create(std::size_t bytes);  // rounded up to whole pages
  Region(Region&& other) noexcept;
  Region& operator=(Region&& other) noexcept;
  ~Region();

  std::span<std::byte> bytes() const noexcept { return bytes_; }
  int descriptor() const noexcept { return fd_; }

 private:
  Region(std::span<std::byte> bytes, int fd) noexcept : bytes_(bytes), fd_(fd) {}
  std::span<std::byte> bytes_;
  int fd_ = -1;
};

}  // namespace mempool::store
