// What the tests of blob files share: places on a real file system, bytes, and child processes.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "spill/spill.h"

namespace mempool::spill::test {

namespace fs = std::filesystem;

/// A directory of one test's own, removed with everything in it.
class Place {
 public:
  Place() {
    std::string name = (fs::temp_directory_path() / "mempool-spill-XXXXXX").native();
    if (::mkdtemp(name.data()) == nullptr) throw fs::filesystem_error("mkdtemp", {});
    path_ = name;
  }
  Place(const Place&) = delete;
  Place& operator=(const Place&) = delete;
  ~Place() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  const fs::path& path() const { return path_; }
  fs::path operator/(const fs::path& name) const { return path_ / name; }

  std::size_t entries() const {
    return static_cast<std::size_t>(
        std::distance(fs::directory_iterator(path_), fs::directory_iterator()));
  }

 private:
  fs::path path_;
};

inline std::vector<std::byte> pattern(std::size_t size, std::uint32_t seed = 1) {
  std::vector<std::byte> bytes(size);
  std::uint32_t state = seed * 2654435761U + 1;
  for (auto& byte : bytes) {
    state = state * 1664525U + 1013904223U;
    byte = static_cast<std::byte>(state >> 24);
  }
  return bytes;
}

inline std::vector<std::byte> copy_of(std::span<const std::byte> bytes) {
  return {bytes.begin(), bytes.end()};
}

inline BlobMeta meta_of(std::uint64_t length, std::uint64_t object = 42) {
  return {.id = {.cluster = 11, .node = 22, .incarnation = 33, .object = object},
          .length = length,
          .type_name = "Vector{Float64}"};
}

inline Result<File> write_blob(const fs::path& path, std::span<const std::byte> bytes,
                               std::uint64_t object = 42, bool overwrite = false) {
  auto writer = Writer::create(path, meta_of(bytes.size(), object), overwrite);
  if (!writer) return forward_error(std::move(writer));
  if (auto appended = writer->append(bytes); !appended) return forward_error(std::move(appended));
  return writer->finish(false);
}

template <class T>
Code code(const Result<T>& result) {
  return result ? Code::kOk : result.error().code;
}

template <class T>
std::string message(const Result<T>& result) {
  return result ? "(no error)" : result.error().to_string();
}

/// File systems may keep times in units of one tick of the kernel's clock (up to 10 ms): a change
/// after this pause has another time.
inline void let_the_clock_tick() {
  std::this_thread::sleep_for(std::chrono::milliseconds(25));
}

/// Changes one byte in place.
inline void flip(const fs::path& path, std::uint64_t offset, unsigned mask = 0xFF) {
  const int fd = ::open(path.c_str(), O_RDWR | O_CLOEXEC);
  ASSERT_GE(fd, 0);
  unsigned char byte = 0;
  ASSERT_EQ(::pread(fd, &byte, 1, static_cast<off_t>(offset)), 1);
  byte = static_cast<unsigned char>(byte ^ mask);
  ASSERT_EQ(::pwrite(fd, &byte, 1, static_cast<off_t>(offset)), 1);
  ::close(fd);
}

/// Runs `body` in a child process; true if it ended normally, with no failed expectation.
template <class Body>
bool in_child(Body&& body) {
  const pid_t child = ::fork();
  if (child == 0) {
    body();
    ::_exit(::testing::Test::HasFailure() ? 1 : 0);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/// In a child: gives up root's rights, so that permissions count.
inline void become_nobody() {
  constexpr uid_t kNobody = 65534;
  if (::geteuid() != 0) return;
  ASSERT_EQ(::setgid(kNobody), 0);
  ASSERT_EQ(::setuid(kNobody), 0);
}

}  // namespace mempool::spill::test
