// Places on a real file system, and damage to what lies there.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "support/bytes.h"

namespace mempool::test {

namespace fs = std::filesystem;

/// A directory of one test's own, removed with everything in it.
class TemporaryDirectory {
 public:
  TemporaryDirectory();
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  ~TemporaryDirectory();

  const fs::path& path() const { return path_; }
  fs::path operator/(const fs::path& name) const { return path_ / name; }
  std::size_t entries() const;

 private:
  fs::path path_;
};

/// A file system of its own with `bytes` of room, mounted at `where` as long as this lives. Nothing
/// where mounting is not allowed. `inodes`: how many files and directories it takes, itself
/// counted; 0: as the system likes.
class SmallDisk {
 public:
  static std::optional<SmallDisk> mount(const fs::path& where, std::uint64_t bytes,
                                        std::uint64_t inodes = 0);
  SmallDisk(SmallDisk&& other) noexcept;
  SmallDisk& operator=(SmallDisk&&) = delete;
  ~SmallDisk();

 private:
  explicit SmallDisk(fs::path where) : where_(std::move(where)) {}
  fs::path where_;
};

/// Files below a directory whose name ends so, at any depth.
std::vector<fs::path> files_below(const fs::path& directory, const std::string& suffix = "");

void write_file(const fs::path& path, std::span<const std::byte> bytes);
Bytes read_file(const fs::path& path);

/// Changes one byte in place.
void flip(const fs::path& path, std::uint64_t offset, unsigned mask = 0xFF);

/// Sockets of this process that a program which it starts would inherit.
std::set<std::string> inheritable_sockets();

/// File systems may keep times in units of one tick of the kernel's clock (up to 10 ms): a change
/// after this pause has another time. Not a wait for anybody.
void let_the_clock_tick();

}  // namespace mempool::test
