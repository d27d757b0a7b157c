// An owned file descriptor, and reads and writes that go through interruptions and short counts.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

#include <sys/stat.h>
#include <sys/types.h>

#include "spill/spill.h"

namespace mempool::spill {

class Descriptor {
 public:
  Descriptor() = default;
  explicit Descriptor(int fd) noexcept : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Descriptor() { close(); }

  int get() const noexcept { return fd_; }
  explicit operator bool() const noexcept { return fd_ >= 0; }
  /// False, with errno: a network file system says here that earlier writes failed.
  bool close() noexcept;

 private:
  int fd_ = -1;
};

// Nobody else reads what is spilled.
inline constexpr mode_t kDirectoryMode = 0700;
inline constexpr mode_t kFileMode = 0600;

/// open() that goes through interruptions, close-on-exec; the descriptor is empty on failure.
Descriptor open_file(const char* path, int flags, mode_t mode = 0) noexcept;

/// Bytes read: fewer than out.size() only at the end of the file. Negative with errno on failure.
std::ptrdiff_t read_fully(int fd, std::uint64_t offset, std::span<std::byte> out) noexcept;

/// False with errno on failure.
bool write_fully(int fd, std::uint64_t offset, std::span<const std::byte> bytes) noexcept;

Stamp stamp_of(const struct stat& status) noexcept;

}  // namespace mempool::spill
