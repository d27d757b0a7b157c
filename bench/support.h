// What the benchmarks share: results that must not fail, bytes, and a directory of their own.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include <mempool/result.h>

namespace mempool::bench {

inline constexpr std::uint64_t kKiB = 1024;
inline constexpr std::uint64_t kMiB = 1024 * kKiB;
inline constexpr std::uint64_t kGiB = 1024 * kMiB;

/// A failure ends the program: a benchmark of it would mean nothing.
[[noreturn]] void stop(const std::string& why);

template <class T>
T get_or_stop(Result<T> result) {
  if (!result) stop(result.error().to_string());
  return std::move(*result);
}
inline void get_or_stop(const Status& status) {
  if (!status) stop(status.error().to_string());
}

/// Bytes that are not all the same.
std::vector<std::byte> make_bytes(std::uint64_t count);

/// Numbers below `below`, the same each time. With replacement: were it one permutation again and
/// again, the order of use would become the order of the gets, and each blob's neighbour in it the
/// next one to be asked for.
std::vector<std::uint32_t> random_draws(std::size_t count, std::size_t below);
/// As many elements of a row, drawn so.
template <class T>
std::vector<T> drawn(const std::vector<T>& row, std::size_t count) {
  std::vector<T> result;
  result.reserve(count);
  for (const auto draw : random_draws(count, row.size())) result.push_back(row[draw]);
  return result;
}

/// "64 B", "4 KiB", "1 GiB".
std::string size_name(std::uint64_t bytes);

/// Where spill files go: below MEMPOOL_BENCH_DIR, or else the working directory, because /tmp may
/// be memory. Removed with all that is in it.
class ScratchDirectory {
 public:
  ScratchDirectory();
  ~ScratchDirectory();
  ScratchDirectory(const ScratchDirectory&) = delete;
  ScratchDirectory& operator=(const ScratchDirectory&) = delete;

  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

}  // namespace mempool::bench
