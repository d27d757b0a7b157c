#include "api/programs/source_file.h"

#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <filesystem>
#include <memory>
#include <utility>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api/programs/nameless_file.h"
#include "api/programs/system_error.h"

namespace mempool::programs {
namespace {

struct Descriptor {
  int fd;
  ~Descriptor() {
    if (fd >= 0) close(fd);
  }
};

/// Of the file that is mapped now. The handler of SIGBUS looks at it, in any thread.
struct Shown {
  std::atomic<std::byte*> begin{nullptr};
  std::atomic<std::byte*> end{nullptr};
  std::atomic<bool> incomplete{false};
} shown;

const auto page_bytes = static_cast<std::uintptr_t>(sysconf(_SC_PAGESIZE));

/// A page of the mapping that the file has no bytes for ends a program, unless it becomes another
/// page: zeros, from there to the end. Only async-signal-safe calls.
void show_zeros(int number, siginfo_t* fault, void*) {
  const int error = errno;
  const auto at = reinterpret_cast<std::uintptr_t>(fault->si_addr);
  const auto end = reinterpret_cast<std::uintptr_t>(shown.end.load());
  const auto page = at - at % page_bytes;
  const bool ours = at >= reinterpret_cast<std::uintptr_t>(shown.begin.load()) && at < end;
  if (!ours || mmap(reinterpret_cast<void*>(page), end - page, PROT_READ,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED) {
    std::signal(number, SIG_DFL);
    std::raise(number);
  }
  shown.incomplete = true;
  errno = error;
}

void* map_all(int fd, std::size_t size) {
  return mmap(nullptr, size, PROT_READ, MAP_PRIVATE, fd, 0);
}

void handle_missing_pages() {
  struct sigaction action {};
  action.sa_sigaction = show_zeros;
  action.sa_flags = SA_SIGINFO;
  sigaction(SIGBUS, &action, nullptr);
}

Status write_all(int to, const char* bytes, ssize_t count, const std::string& path) {
  while (count > 0) {
    const ssize_t n = write(to, bytes, static_cast<std::size_t>(count));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return system_error("a temporary file for " + path);
    bytes += n;
    count -= n;
  }
  return {};
}

Result<int> temporary_file() {
  std::error_code error;
  const auto directory = std::filesystem::temp_directory_path(error);
  if (error) return system_error("the directory of temporary files (TMPDIR)", error.value());
  const int fd = open_nameless(directory);
  if (fd < 0) return creation_error(directory);
  return fd;
}

}  // namespace

Result<SourceFile> SourceFile::open(const std::string& path) {
  if (path == "-") return copy(STDIN_FILENO, "standard input");
  // O_NONBLOCK: a fifo without a writer must not hang the program.
  Descriptor file{::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
  if (file.fd < 0) return system_error(path);
  struct stat status {};
  if (fstat(file.fd, &status) != 0) return system_error(path);
  if (!S_ISREG(status.st_mode))
    return fail(Code::kInvalidArgument, path + ": not a regular file; use - for standard input");
  // Files that the kernel makes up as they are read have no size, or cannot be mapped and have one
  // that says nothing.
  const auto size = static_cast<std::size_t>(status.st_size);
  if (size == 0) return copy(file.fd, path);
  void* const mapped = map_all(file.fd, size);
  if (mapped == MAP_FAILED && (errno == ENODEV || errno == EIO)) return copy(file.fd, path);
  return show(file.fd, mapped, size, path);
}

/// Nothing needs no file.
Result<SourceFile> SourceFile::copy(int from, const std::string& path) {
  static constexpr std::size_t kPart = 256 * 1024;
  const auto part = std::make_unique<std::array<char, kPart>>();
  Descriptor to{-1};
  std::size_t size = 0;
  for (ssize_t got = 0; (got = read(from, part->data(), kPart)) != 0;) {
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return system_error(path);
    if (to.fd < 0) {
      auto made = temporary_file();
      if (!made) return forward_error(std::move(made));
      to.fd = *made;
    }
    if (auto written = write_all(to.fd, part->data(), got, path); !written)
      return forward_error(std::move(written));
    size += static_cast<std::size_t>(got);
  }
  if (size == 0) return SourceFile();
  return show(to.fd, map_all(to.fd, size), size, path);
}

Result<SourceFile> SourceFile::show(int& fd, void* mapped, std::size_t size,
                                    const std::string& path) {
  if (mapped == MAP_FAILED) return system_error(path);
  madvise(mapped, size, MADV_SEQUENTIAL);
  SourceFile source;
  source.path_ = path;
  source.fd_ = std::exchange(fd, -1);
  source.bytes_ = {static_cast<const std::byte*>(mapped), size};
  shown.incomplete = false;
  shown.begin = static_cast<std::byte*>(mapped);
  shown.end = static_cast<std::byte*>(mapped) + (size + page_bytes - 1) / page_bytes * page_bytes;
  handle_missing_pages();
  return source;
}

SourceFile::SourceFile(SourceFile&& other) noexcept
    : path_(std::move(other.path_)),
      fd_(std::exchange(other.fd_, -1)),
      bytes_(std::exchange(other.bytes_, {})) {}

SourceFile::~SourceFile() {
  if (fd_ < 0) return;
  shown.begin = shown.end = nullptr;
  munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
  close(fd_);
}

Status SourceFile::whole() const {
  if (fd_ < 0) return {};
  struct stat status {};
  if (fstat(fd_, &status) != 0) return system_error(path_);
  const auto left = static_cast<std::uint64_t>(status.st_size);
  if (left < bytes_.size())
    return fail(Code::kIo, path_ + ": was cut off to " + std::to_string(left) +
                               " bytes while it was read, and had " +
                               std::to_string(bytes_.size()));
  if (shown.incomplete) return fail(Code::kIo, path_ + ": a part of it could not be read");
  return {};
}

}  // namespace mempool::programs
