// What a one-sided reader relies on: headers, the mark of death, and memory that is not used again
// before its time.
#include <atomic>
#include <chrono>
#include <cstring>
#include <future>

#include <mempool/detail/blob_header.h>

#include "store_fixture.h"

namespace mempool::store::testing {
namespace {

using Clock = std::chrono::steady_clock;

class QuarantineTest : public StoreTest {
 protected:
  void open_exposed(std::uint64_t max_memsize, std::uint32_t quarantine_ms) {
    StoreOptions options;
    options.max_memsize = max_memsize;
    options.exposed = true;
    options.quarantine_ms = quarantine_ms;
    open(options);
  }

  Placed place(std::size_t length, std::uint64_t seed, const BlobOptions& options = {}) {
    auto placed = store_->set(pattern(length, seed), options);
    EXPECT_TRUE(placed) << placed.error().to_string();
    return placed ? *placed : Placed{};
  }

  BlobHeader header(const Placed& placed) {
    BlobHeader header;
    std::memcpy(&header, store_->regions()[0].bytes().data() + placed.hint.offset, sizeof(header));
    return header;
  }
};

TEST_F(QuarantineTest, AHeaderSaysWhatTheReferenceSays) {
  open_exposed(1 << 20, 50);
  const Placed a = place(100, 1);
  const BlobHeader found = header(a);
  EXPECT_EQ(found.magic, BlobHeader::kMagic);
  EXPECT_EQ(found.object, a.object);
  EXPECT_EQ(found.generation, a.hint.generation);
  EXPECT_EQ(found.length, 100U);
  EXPECT_EQ(found.flags, 0U);
  EXPECT_EQ(a.hint.offset % 64, 0U);
  const auto* payload = store_->regions()[0].bytes().data() + a.hint.offset + sizeof(BlobHeader);
  EXPECT_EQ(get(a.object).data(), payload);
}

TEST_F(QuarantineTest, ADraftMatchesNoReference) {
  open(1 << 20);
  const Placed a = place(100, 1);
  ASSERT_TRUE(store_->remove(a.object));
  auto draft = store_->begin(100, {});
  ASSERT_TRUE(draft);
  EXPECT_NE(header(a).generation, a.hint.generation);
}

TEST_F(QuarantineTest, DeletedEvictedAndMovedBlobsAreMarkedDead) {
  open_exposed(300, 60'000);
  const Placed deleted = place(100, 1);
  const Placed moved = place(100, 2);
  const Placed evicted = place(100, 3);
  ASSERT_TRUE(store_->remove(deleted.object));
  ASSERT_TRUE(store_->write_to_disk(moved.object, true));
  place(250, 4);
  for (const Placed& dead : {deleted, moved, evicted})
    EXPECT_NE(header(dead).generation, dead.hint.generation);
  EXPECT_EQ(store_->stats().quarantined_bytes, 3 * (100 + sizeof(BlobHeader)));
  EXPECT_EQ(store_->stats().payload_bytes, 250U);
}

TEST_F(QuarantineTest, ALoadedBlobHasANewGeneration) {
  open_exposed(300, 0);
  const Placed a = place(100, 1);
  ASSERT_TRUE(store_->write_to_disk(a.object, true));
  ASSERT_TRUE(store_->load(a.object));
  const LocationHint hint = store_->locate(a.object)->hint;
  EXPECT_NE(hint.generation, 0U);
  EXPECT_NE(hint.generation, a.hint.generation);
}

TEST_F(QuarantineTest, ADeletedBlobIsMarkedDeadThoughAViewShowsIt) {
  open_exposed(300, 60'000);
  const Placed a = place(100, 1);
  View view = get(a.object);
  ASSERT_TRUE(store_->remove(a.object));
  EXPECT_NE(header(a).generation, a.hint.generation);
  EXPECT_EQ(store_->stats().quarantined_bytes, 0U);
  EXPECT_TRUE(same(view, pattern(100, 1)));
  view.reset();
  EXPECT_EQ(store_->stats().quarantined_bytes, 100 + sizeof(BlobHeader));
}

// Blobs come and go until memory that one had is used again, as it must be: the region has room for
// 64 or so.
TEST_F(QuarantineTest, MemoryIsNotUsedAgainBeforeItsTime) {
  constexpr std::uint32_t kQuarantineMs = 300;
  constexpr std::size_t kLength = 1 << 20;
  struct Dead {
    std::uint64_t offset;
    Clock::time_point not_before;
  };
  open_exposed(kLength, kQuarantineMs);
  std::vector<Dead> dead;
  int used_again = 0;
  for (int round = 0; round < 200; ++round) {
    const Placed placed = place(kLength, 1);
    const auto now = Clock::now();
    ASSERT_NE(placed.hint.generation, 0U);
    for (const Dead& one : dead) {
      const bool apart =
          placed.hint.offset + kLength <= one.offset || one.offset + kLength <= placed.hint.offset;
      if (apart) continue;
      ++used_again;
      EXPECT_GE(now, one.not_before) << round;
    }
    const auto before = Clock::now();
    ASSERT_TRUE(store_->remove(placed.object));
    dead.push_back({placed.hint.offset, before + std::chrono::milliseconds(kQuarantineMs)});
  }
  EXPECT_GT(used_again, 0);
}

TEST_F(QuarantineTest, WithTheBudgetSpentASetWaitsForTheOldest) {
  constexpr std::uint32_t kQuarantineMs = 200;
  open_exposed(64 << 20, kQuarantineMs);  // the budget is 64 MiB
  const auto begin = Clock::now();
  const Placed a = place(64 << 20, 1);
  ASSERT_TRUE(store_->remove(a.object));  // 64 bytes over the budget
  const auto deleted_at = Clock::now();
  const Placed b = place(1 << 20, 2);
  EXPECT_GE(Clock::now() - begin, std::chrono::milliseconds(kQuarantineMs));
  EXPECT_LT(Clock::now() - deleted_at, std::chrono::seconds(30));
  EXPECT_NE(b.hint.generation, 0U);
  EXPECT_EQ(disk_->created, 0);
}

TEST_F(QuarantineTest, WithTheBudgetSpentAndNoTimeASetGoesToDisk) {
  open_exposed(64 << 20, 600'000);
  const Placed a = place(64 << 20, 1);
  ASSERT_TRUE(store_->remove(a.object));
  BlobOptions options;
  options.timeout_ms = 10;
  const Placed b = place(1000, 2, options);
  EXPECT_EQ(b.hint.generation, 0U);
  EXPECT_TRUE(holds(b.object, 1000, 2));
  EXPECT_EQ(store_->stats().payload_bytes, 1000U);  // mapped by the get
}

TEST_F(QuarantineTest, ASetThatWaitsForTheQuarantineEndsWhenTheStoreStops) {
  open_exposed(64 << 20, 600'000);
  const Placed a = place(64 << 20, 1);
  ASSERT_TRUE(store_->remove(a.object));
  BlobOptions options;
  options.timeout_ms = 120'000;
  const auto begin = Clock::now();
  auto waiting = std::async(std::launch::async, [&] { return code_of_set(1000, options); });
  store_->stop_waiting();
  EXPECT_EQ(waiting.get(), Code::kClosed);
  EXPECT_EQ(code_of_set(1000, options), Code::kClosed);
  EXPECT_LT(Clock::now() - begin, std::chrono::seconds(60));
  EXPECT_EQ(store_->stats().payload_bytes, 0U);
  EXPECT_EQ(disk_->created, 0);
}

TEST_F(QuarantineTest, WithNothingExposedMemoryGoesStraightBack) {
  open(1 << 20);
  const Placed a = place(1000, 1);
  ASSERT_TRUE(store_->remove(a.object));
  EXPECT_EQ(store_->stats().quarantined_bytes, 0U);
  EXPECT_EQ(place(1000, 2).hint.offset, a.hint.offset);
}

}  // namespace
}  // namespace mempool::store::testing
