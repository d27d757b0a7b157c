// What the store's tests share: a store over the test disk, and blobs whose bytes follow from a
// seed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include <gtest/gtest.h>

#include "store/store.h"
#include "support/bytes.h"
#include "test_disk.h"

namespace mempool::store::testing {

using test::pattern;

inline bool same(const View& view, std::span<const std::byte> bytes) {
  return test::same(view.bytes(), bytes);
}

class StoreTest : public ::testing::Test {
 protected:
  using Objects = std::vector<std::uint64_t>;

  void open(std::uint64_t max_memsize, Policy policy = Policy::kLru) {
    StoreOptions options;
    options.max_memsize = max_memsize;
    options.policy = policy;
    open(options);
  }

  void open(const StoreOptions& options, bool with_disk = true) {
    auto store = Store::create(options, with_disk ? make_test_disk(disk_) : nullptr);
    ASSERT_TRUE(store) << store.error().to_string();
    store_ = std::move(*store);
  }

  std::uint64_t set(std::size_t length, std::uint64_t seed, const BlobOptions& options = {}) {
    auto placed = store_->set(pattern(length, seed), options);
    EXPECT_TRUE(placed) << placed.error().to_string();
    return placed ? placed->object : 0;
  }

  Code code_of_set(std::size_t length, const BlobOptions& options = {}) {
    auto placed = store_->set(pattern(length, 0), options);
    return placed ? Code::kOk : placed.error().code;
  }

  Code code_of_get(std::uint64_t object) {
    auto view = store_->get(object);
    return view ? Code::kOk : view.error().code;
  }

  View get(std::uint64_t object) {
    auto view = store_->get(object);
    EXPECT_TRUE(view) << view.error().to_string();
    return view ? std::move(*view) : View();
  }

  bool holds(std::uint64_t object, std::size_t length, std::uint64_t seed) {
    return same(get(object), pattern(length, seed));
  }

  bool in_memory(std::uint64_t object) { return store_->inspect(object).value().in_memory; }
  bool on_disk(std::uint64_t object) { return store_->inspect(object).value().on_disk; }

  void expect_nothing_left() {
    const StoreStats stats = store_->stats();
    EXPECT_EQ(stats.payload_bytes, 0U);
    EXPECT_EQ(stats.blobs, 0U);
    EXPECT_EQ(stats.blobs_in_memory, 0U);
    EXPECT_EQ(stats.blobs_on_disk, 0U);
    EXPECT_EQ(stats.disk_bytes, 0U);
    EXPECT_EQ(stats.pinned_blobs, 0U);
    EXPECT_TRUE(store_->order().empty());
    EXPECT_EQ(disk_->files(), 0U);
  }

  std::shared_ptr<DiskControl> disk_ = std::make_shared<DiskControl>();
  std::unique_ptr<Store> store_;
};

}  // namespace mempool::store::testing
