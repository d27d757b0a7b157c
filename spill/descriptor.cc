#include "spill/descriptor.h"

#include <cerrno>

#include <fcntl.h>
#include <unistd.h>

namespace mempool::spill {
namespace {

std::int64_t nanoseconds(const struct timespec& time) noexcept {
  return std::int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
}

}  // namespace

bool Descriptor::close() noexcept {
  const int fd = std::exchange(fd_, -1);
  // After EINTR the descriptor is gone all the same on Linux.
  return fd < 0 || ::close(fd) == 0 || errno == EINTR;
}

Descriptor open_file(const char* path, int flags, mode_t mode) noexcept {
  int fd = -1;
  do {
    fd = ::open(path, flags | O_CLOEXEC, mode);
  } while (fd < 0 && errno == EINTR);
  return Descriptor(fd);
}

std::ptrdiff_t read_fully(int fd, std::uint64_t offset, std::span<std::byte> out) noexcept {
  std::size_t done = 0;
  while (done < out.size()) {
    const ssize_t got =
        ::pread(fd, out.data() + done, out.size() - done, static_cast<off_t>(offset + done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return -1;
    if (got == 0) break;
    done += static_cast<std::size_t>(got);
  }
  return static_cast<std::ptrdiff_t>(done);
}

bool write_fully(int fd, std::uint64_t offset, std::span<const std::byte> bytes) noexcept {
  while (!bytes.empty()) {
    const ssize_t put = ::pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (put < 0 && errno == EINTR) continue;
    if (put == 0) errno = EIO;
    if (put <= 0) return false;
    bytes = bytes.subspan(static_cast<std::size_t>(put));
    offset += static_cast<std::uint64_t>(put);
  }
  return true;
}

Stamp stamp_of(const struct stat& status) noexcept {
  return Stamp{.device = status.st_dev,
               .inode = status.st_ino,
               .size = static_cast<std::uint64_t>(status.st_size),
               .modified_ns = nanoseconds(status.st_mtim),
               .changed_ns = nanoseconds(status.st_ctim)};
}

}  // namespace mempool::spill
