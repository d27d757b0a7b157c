// A pool inside the test's process, private to it, over a real spill directory.
#pragma once

#include <initializer_list>
#include <string>
#include <utility>

#include <gmock/gmock.h>

#include <mempool/mempool.h>

#include "support/child.h"
#include "support/daemon.h"
#include "support/files.h"
#include "support/results.h"

namespace mempool::test {

inline constexpr std::uint64_t kMiB = std::uint64_t{1} << 20;

/// Makes every new spill file fail, as a disk does that went away, until it is repaired.
class BrokenDisk {
 public:
  explicit BrokenDisk(fs::path session) : session_(std::move(session)) {
    fs::rename(session_, aside());
  }
  BrokenDisk(const BrokenDisk&) = delete;
  BrokenDisk& operator=(const BrokenDisk&) = delete;
  ~BrokenDisk() { repair(); }
  void repair() {
    if (!std::exchange(repaired_, true)) fs::rename(aside(), session_);
  }

 private:
  fs::path aside() const { return session_.native() + ".aside"; }
  const fs::path session_;
  bool repaired_ = false;
};

class PoolTest : public ::testing::Test {
 protected:
  PoolOptions options(std::uint64_t max_memsize = 64 * kMiB) const {
    PoolOptions options;
    options.max_memsize = max_memsize;
    options.spill_dir = spill_directory().native();
    return options;
  }
  fs::path spill_directory() const { return directory_ / "spill"; }
  std::vector<fs::path> blob_files() const { return files_below(spill_directory(), ".blob"); }
  std::vector<fs::path> temporary_files() const { return files_below(spill_directory(), ".tmp"); }

  /// The one session directory of an open pool.
  fs::path session_directory() const {
    for (const auto& entry : fs::directory_iterator(spill_directory()))
      if (entry.is_directory() && entry.path().filename() != "retained") return entry.path();
    throw std::runtime_error("there is no session directory");
  }

  static DRef set(Pool& pool, std::uint64_t seed, std::uint64_t size = kMiB,
                  const SetOptions& how = {}) {
    return must(pool.poolset(pattern(size, seed), how));
  }
  static bool holds(Pool& pool, const DRef& ref, std::uint64_t seed) {
    const auto view = must(pool.poolget(ref));
    return same(view.bytes(), pattern(ref.length, seed));
  }

  /// "memory", "disk", "both", or the code of the error.
  static std::string where(Pool& pool, const DRef& ref) {
    const auto info = pool.inspect(ref);
    if (!info) return std::string(to_string(info.error().code));
    if (info->in_memory && info->on_disk) return "both";
    return info->in_memory ? "memory" : "disk";
  }
  static std::vector<std::string> where_are(Pool& pool, std::initializer_list<DRef> refs) {
    std::vector<std::string> places;
    for (const auto& ref : refs) places.push_back(where(pool, ref));
    return places;
  }
  static StoreStats store_stats(Pool& pool) { return must(pool.stats()).store; }

  const TemporaryDirectory directory_;
};

}  // namespace mempool::test
