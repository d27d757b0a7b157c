// Many threads do everything at once; every byte that is read follows from the blob's seed, and at
// the end nothing is left.
#include <algorithm>
#include <atomic>
#include <mutex>
#include <random>
#include <thread>
#include <unordered_map>

#include "store_fixture.h"

namespace mempool::store::testing {
namespace {

class Stress {
 public:
  Stress(Store& store, std::size_t largest) : store_(store), largest_(largest) {}

  void run(unsigned thread, int rounds) {
    std::mt19937_64 random(thread + 1);
    for (int round = 0; round < rounds; ++round) step(random);
  }

  void remove_all() {
    for (const auto& blob : blobs_) EXPECT_TRUE(store_.remove(blob.first));
    blobs_.clear();
  }

 private:
  struct Blob {
    std::size_t length;
    std::uint64_t seed;
  };

  void step(std::mt19937_64& random) {
    const auto choice = random() % 16;
    if (choice < 5) return set(random);
    const auto [object, blob] = pick(random);
    if (object == 0) return;
    if (choice < 11) return read(object, blob);
    if (choice < 12) return check(store_.write_to_disk(object, (random() & 1) != 0));
    if (choice < 13) return check(store_.load(object));
    if (choice < 14) return check(store_.locate(object));
    remove(object);
  }

  void set(std::mt19937_64& random) {
    const Blob blob{random() % largest_, random()};
    BlobOptions options;
    options.type_name = (blob.seed & 1) != 0 ? "odd" : "";
    const auto placed = store_.set(pattern(blob.length, blob.seed), options);
    ASSERT_TRUE(placed) << placed.error().to_string();
    const std::lock_guard lock(mutex_);
    EXPECT_TRUE(blobs_.emplace(placed->object, blob).second);
    objects_.push_back(placed->object);
  }

  std::pair<std::uint64_t, Blob> pick(std::mt19937_64& random) {
    const std::lock_guard lock(mutex_);
    if (objects_.empty()) return {};
    const std::uint64_t object = objects_[random() % objects_.size()];
    return {object, blobs_.at(object)};
  }

  void read(std::uint64_t object, const Blob& blob) {
    const auto view = store_.get(object);
    if (!view) {
      EXPECT_EQ(view.error().code, Code::kNotFound) << view.error().to_string();
      return;
    }
    EXPECT_TRUE(same(*view, pattern(blob.length, blob.seed)));
  }

  // Another thread may have deleted it, or memory may be full of pinned blobs; nothing else may be
  // wrong.
  template <class T>
  void check(const Result<T>& result) {
    if (result) return;
    const Code code = result.error().code;
    EXPECT_TRUE(code == Code::kNotFound || code == Code::kNoSpace) << result.error().to_string();
  }

  void remove(std::uint64_t object) {
    {
      const std::lock_guard lock(mutex_);
      if (blobs_.size() < 64) return;
      if (blobs_.erase(object) == 0) return;
      objects_.erase(std::find(objects_.begin(), objects_.end(), object));
    }
    const auto removed = store_.remove(object);
    EXPECT_TRUE(removed) << removed.error().to_string();
  }

  Store& store_;
  const std::size_t largest_;
  std::mutex mutex_;
  std::unordered_map<std::uint64_t, Blob> blobs_;
  std::vector<std::uint64_t> objects_;
};

class StoreStressTest : public StoreTest {
 protected:
  void run(const StoreOptions& options, std::size_t largest, int rounds) {
    open(options);
    Stress stress(*store_, largest);
    std::vector<std::thread> threads;
    for (unsigned i = 0; i < 4; ++i)
      threads.emplace_back([&stress, i, rounds] { stress.run(i, rounds); });
    for (auto& thread : threads) thread.join();
    const StoreStats stats = store_->stats();
    EXPECT_LE(stats.payload_bytes, options.max_memsize);
    EXPECT_GT(stats.evictions, 0U);
    stress.remove_all();
    expect_nothing_left();
  }
};

TEST_F(StoreStressTest, EverythingAtOnce) {
  StoreOptions options;
  options.max_memsize = 100'000;
  run(options, 8'000, 3'000);
}

TEST_F(StoreStressTest, EverythingAtOnceMostRecentFirst) {
  StoreOptions options;
  options.max_memsize = 100'000;
  options.policy = Policy::kMru;
  run(options, 8'000, 2'000);
}

TEST_F(StoreStressTest, EverythingAtOnceWithQuarantine) {
  StoreOptions options;
  options.max_memsize = 1'000'000;
  options.exposed = true;
  options.quarantine_ms = 5;
  run(options, 60'000, 1'000);
}

// A few blobs, read and deleted by all: the last of view and deletion reclaims, and only that one.
TEST_F(StoreStressTest, ReadersAndDeletersOfOneBlob) {
  open(1'000'000);
  for (std::uint64_t round = 0; round < 200; ++round) {
    const auto object = set(1'000, round);
    const auto bytes = pattern(1'000, round);
    std::vector<std::thread> threads;
    std::atomic<int> deleted{0};
    for (int i = 0; i < 3; ++i) {
      threads.emplace_back([&] {
        for (int k = 0; k < 20; ++k) {
          const auto view = store_->get(object);
          if (view) {
            EXPECT_TRUE(same(*view, bytes));
          }
        }
        if (store_->remove(object)) ++deleted;
      });
    }
    for (auto& thread : threads) thread.join();
    EXPECT_EQ(deleted, 1);
  }
  expect_nothing_left();
}

}  // namespace
}  // namespace mempool::store::testing
