#include "api/programs/source_file.h"

#include <array>
#include <cerrno>
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

Status copy_standard_input(int to) {
  static constexpr std::size_t kPart = 256 * 1024;
  const auto part = std::make_unique<std::array<char, kPart>>();
  for (;;) {
    const ssize_t got = read(STDIN_FILENO, part->data(), kPart);
    if (got == 0) return {};
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return system_error("standard input");
    for (ssize_t put = 0; put < got;) {
      const ssize_t n = write(to, part->data() + put, static_cast<std::size_t>(got - put));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return system_error("a temporary file for standard input");
      put += n;
    }
  }
}

}  // namespace

Result<SourceFile> SourceFile::open(const std::string& path) {
  if (path == "-") {
    std::error_code error;
    const auto directory = std::filesystem::temp_directory_path(error);
    if (error) return system_error("the directory of temporary files (TMPDIR)", error.value());
    const Descriptor file{open_nameless(directory)};
    if (file.fd < 0) return system_error(directory);
    if (auto copied = copy_standard_input(file.fd); !copied)
      return forward_error(std::move(copied));
    return map(file.fd, "standard input");
  }
  // O_NONBLOCK: a fifo without a writer must not hang the program.
  const Descriptor file{::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
  if (file.fd < 0) return system_error(path);
  return map(file.fd, path);
}

Result<SourceFile> SourceFile::map(int fd, const std::string& path) {
  struct stat status {};
  if (fstat(fd, &status) != 0) return system_error(path);
  if (!S_ISREG(status.st_mode))
    return fail(Code::kInvalidArgument, path + ": not a regular file; use - for standard input");
  SourceFile source;
  const auto size = static_cast<std::size_t>(status.st_size);
  if (size == 0) return source;
  void* mapped = mmap(nullptr, size, PROT_READ, MAP_PRIVATE, fd, 0);
  if (mapped == MAP_FAILED) return system_error(path);
  madvise(mapped, size, MADV_SEQUENTIAL);
  source.bytes_ = {static_cast<const std::byte*>(mapped), size};
  return source;
}

SourceFile::SourceFile(SourceFile&& other) noexcept : bytes_(std::exchange(other.bytes_, {})) {}

SourceFile::~SourceFile() {
  if (!bytes_.empty()) munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
}

}  // namespace mempool::programs
