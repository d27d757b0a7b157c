// A pool inside the test's process, private to it, over a real spill directory.
#pragma once

#include <utility>
#include <vector>

#include <gmock/gmock.h>

#include <mempool/mempool.h>

#include "support/child.h"
#include "support/daemon.h"
#include "support/files.h"
#include "support/pools.h"

namespace mempool::test {

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

  /// The one session directory of a pool, which makes it for its first file.
  fs::path session_directory(Pool& pool) const {
    const auto ref = set(pool, 1, 1);
    const auto file = must(pool.copytodisk(ref));
    must(pool.pooldelete(ref));
    return fs::path(file.path).parent_path();
  }

  const TemporaryDirectory directory_;
};

}  // namespace mempool::test
