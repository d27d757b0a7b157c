#include "support/files.h"

#include <chrono>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <thread>

#include <fcntl.h>
#include <sys/mount.h>
#include <unistd.h>

namespace mempool::test {

TemporaryDirectory::TemporaryDirectory() {
  std::string name = (fs::temp_directory_path() / "mempool-test-XXXXXX").native();
  if (::mkdtemp(name.data()) == nullptr)
    throw fs::filesystem_error("mkdtemp", name, std::error_code(errno, std::generic_category()));
  path_ = name;
}

TemporaryDirectory::~TemporaryDirectory() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

std::size_t TemporaryDirectory::entries() const {
  return static_cast<std::size_t>(
      std::distance(fs::directory_iterator(path_), fs::directory_iterator()));
}

std::optional<SmallDisk> SmallDisk::mount(const fs::path& where, std::uint64_t bytes,
                                          std::uint64_t inodes) {
  fs::create_directories(where);
  auto size = "size=" + std::to_string(bytes);
  if (inodes != 0) size += ",nr_inodes=" + std::to_string(inodes);
  if (::mount("tmpfs", where.c_str(), "tmpfs", MS_NOSUID | MS_NODEV, size.c_str()) != 0)
    return std::nullopt;
  return SmallDisk(where);
}

SmallDisk::SmallDisk(SmallDisk&& other) noexcept : where_(std::exchange(other.where_, {})) {}

SmallDisk::~SmallDisk() {
  if (!where_.empty()) ::umount2(where_.c_str(), MNT_DETACH);
}

std::vector<fs::path> files_below(const fs::path& directory, const std::string& suffix) {
  std::vector<fs::path> found;
  std::error_code error;
  // Programs at work add and remove files meanwhile: what is gone is not there.
  for (fs::recursive_directory_iterator at(directory, error), end; !error && at != end;
       at.increment(error)) {
    std::error_code gone;
    if (at->is_regular_file(gone) && at->path().native().ends_with(suffix))
      found.push_back(at->path());
  }
  return found;
}

void write_file(const fs::path& path, std::span<const std::byte> bytes) {
  std::ofstream out(path, std::ios::binary | std::ios::trunc);
  out.write(reinterpret_cast<const char*>(bytes.data()),
            static_cast<std::streamsize>(bytes.size()));
  out.close();
  if (!out) throw std::runtime_error("cannot write " + path.native());
}

Bytes read_file(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) throw std::runtime_error("cannot read " + path.native());
  const std::string text{std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
  return bytes_of(text);
}

void flip(const fs::path& path, std::uint64_t offset, unsigned mask) {
  const int fd = ::open(path.c_str(), O_RDWR | O_CLOEXEC);
  unsigned char byte = 0;
  const auto at = static_cast<off_t>(offset);
  bool done = fd >= 0 && ::pread(fd, &byte, 1, at) == 1;
  byte = static_cast<unsigned char>(byte ^ mask);
  done = done && ::pwrite(fd, &byte, 1, at) == 1;
  if (fd >= 0) ::close(fd);
  if (!done) throw std::runtime_error("cannot change a byte of " + path.native());
}

std::set<std::string> inheritable_sockets() {
  std::set<std::string> found;
  for (const auto& entry : fs::directory_iterator("/proc/self/fd")) {
    std::error_code closed;
    const auto what = fs::read_symlink(entry.path(), closed).native();
    const int flags = ::fcntl(std::stoi(entry.path().filename()), F_GETFD);
    if (what.starts_with("socket:") && flags >= 0 && (flags & FD_CLOEXEC) == 0) found.insert(what);
  }
  return found;
}

void let_the_clock_tick() {
  std::this_thread::sleep_for(std::chrono::milliseconds(25));
}

}  // namespace mempool::test
