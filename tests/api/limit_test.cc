// The memory limit: who goes to disk, in which order, and what happens when nobody can.
#include <atomic>
#include <thread>

#include "pool_fixture.h"

namespace mempool::test {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST_F(PoolTest, C62_WithinTheLimitAllStaysInMemory) {
  auto pool = must(Pool::open(options(3 * kMiB)));
  const auto a = set(pool, 1), b = set(pool, 2), c = set(pool, 3);
  EXPECT_THAT(where_are(pool, {a, b, c}), ElementsAre("memory", "memory", "memory"));
  const auto stats = store_stats(pool);
  EXPECT_EQ(stats.payload_bytes, 3 * kMiB);
  EXPECT_EQ(stats.disk_bytes, 0U);
  EXPECT_EQ(stats.evictions, 0U);
  // Newest first: the order in which they go is the order in which they came.
  set(pool, 4);
  EXPECT_THAT(where_are(pool, {a, b, c}), ElementsAre("disk", "memory", "memory"));
  set(pool, 5);
  EXPECT_THAT(where_are(pool, {a, b, c}), ElementsAre("disk", "disk", "memory"));
}

TEST_F(PoolTest, C63_LeastRecentlyUsedGoesToDisk) {
  auto pool = must(Pool::open(options(3 * kMiB)));
  const auto a = set(pool, 1), b = set(pool, 2), c = set(pool, 3), d = set(pool, 4);
  EXPECT_THAT(where_are(pool, {a, b, c, d}), ElementsAre("disk", "memory", "memory", "memory"));
  const auto stats = store_stats(pool);
  EXPECT_EQ(stats.payload_bytes, 3 * kMiB);
  EXPECT_EQ(stats.evictions, 1U);
  EXPECT_EQ(stats.spilled_bytes, kMiB);
  EXPECT_EQ(blob_files().size(), 1U);
  EXPECT_TRUE(holds(pool, a, 1));
}

TEST_F(PoolTest, C64_MostRecentGoesWithPolicyMru) {
  auto mru = options(3 * kMiB);
  mru.policy = Policy::kMru;
  auto pool = must(Pool::open(mru));
  const auto a = set(pool, 1), b = set(pool, 2), c = set(pool, 3), d = set(pool, 4);
  EXPECT_THAT(where_are(pool, {a, b, c, d}), ElementsAre("memory", "memory", "disk", "memory"));
  EXPECT_TRUE(holds(pool, c, 3));
}

TEST_F(PoolTest, C65_ReadingInMemoryMakesMostRecentAndMovesNothing) {
  auto pool = must(Pool::open(options(3 * kMiB)));
  const auto a = set(pool, 1), b = set(pool, 2), c = set(pool, 3);
  EXPECT_TRUE(holds(pool, a, 1));
  EXPECT_EQ(store_stats(pool).evictions, 0U);
  EXPECT_EQ(store_stats(pool).disk_bytes, 0U);
  EXPECT_EQ(store_stats(pool).payload_bytes, 3 * kMiB);
  set(pool, 4);
  EXPECT_THAT(where_are(pool, {a, b, c}), ElementsAre("memory", "disk", "memory"));
  // Also a part that is read counts.
  Bytes out(1);
  must(pool.poolread(c, 0, out));
  set(pool, 5);
  EXPECT_THAT(where_are(pool, {a, b, c}), ElementsAre("disk", "disk", "memory"));
}

TEST_F(PoolTest, C66_ReadingASpilledBlobMakesItMostRecentAndOthersGo) {
  auto pool = must(Pool::open(options(3 * kMiB)));
  const auto a = set(pool, 1), b = set(pool, 2), c = set(pool, 3), d = set(pool, 4);
  ASSERT_EQ(where(pool, a), "disk");
  EXPECT_TRUE(holds(pool, a, 1));
  EXPECT_THAT(where_are(pool, {a, b, c, d}), ElementsAre("both", "disk", "memory", "memory"));
  EXPECT_EQ(store_stats(pool).payload_bytes, 3 * kMiB);
  set(pool, 5);
  EXPECT_THAT(where_are(pool, {a, b, c, d}), ElementsAre("both", "disk", "disk", "memory"));
}

TEST_F(PoolTest, C67_SeveralVictimsExactlyTheNeededInOrder) {
  auto pool = must(Pool::open(options(4 * kMiB)));
  const auto a = set(pool, 1), b = set(pool, 2), c = set(pool, 3), d = set(pool, 4);
  const auto big = set(pool, 5, 2 * kMiB);
  EXPECT_THAT(where_are(pool, {a, b, c, d, big}),
              ElementsAre("disk", "disk", "memory", "memory", "memory"));
  EXPECT_EQ(store_stats(pool).evictions, 2U);
  // The order of the rest is what it was.
  set(pool, 6);
  EXPECT_THAT(where_are(pool, {c, d, big}), ElementsAre("disk", "memory", "memory"));
  set(pool, 7);
  EXPECT_THAT(where_are(pool, {c, d, big}), ElementsAre("disk", "disk", "memory"));
}

TEST_F(PoolTest, C68_DeletingChangesNobodyElsesOrder) {
  auto pool = must(Pool::open(options(4 * kMiB)));
  const auto a = set(pool, 1), b = set(pool, 2), c = set(pool, 3), d = set(pool, 4);
  const auto e = set(pool, 5);
  ASSERT_EQ(where(pool, a), "disk");
  must(pool.pooldelete(a));
  must(pool.pooldelete(c));
  EXPECT_THAT(where_are(pool, {a, b, c, d, e}),
              ElementsAre("NotFound", "memory", "NotFound", "memory", "memory"));
  const auto f = set(pool, 6);
  EXPECT_THAT(where_are(pool, {b, d, e, f}), ElementsAre("memory", "memory", "memory", "memory"));
  set(pool, 7);
  EXPECT_THAT(where_are(pool, {b, d, e, f}), ElementsAre("disk", "memory", "memory", "memory"));
  set(pool, 8);
  EXPECT_THAT(where_are(pool, {b, d, e, f}), ElementsAre("disk", "disk", "memory", "memory"));
}

TEST_F(PoolTest, C69_LargerThanTheLimitGoesStraightToDisk) {
  auto pool = must(Pool::open(options(kMiB)));
  const auto small = set(pool, 1, kMiB / 2);
  const auto big = set(pool, 2, 5 * kMiB + 3);
  EXPECT_THAT(where_are(pool, {small, big}), ElementsAre("memory", "disk"));
  EXPECT_EQ(store_stats(pool).payload_bytes, kMiB / 2);
  const auto view = must(pool.poolget(big));
  EXPECT_EQ(view.path(), Path::kMappedFile);
  EXPECT_TRUE(same(view.bytes(), pattern(5 * kMiB + 3, 2)));
  EXPECT_LE(store_stats(pool).payload_bytes, kMiB);
  EXPECT_TRUE(holds(pool, small, 1));
}

TEST_F(PoolTest, C70_WhatFitsNowhereIsRefusedAndNothingChanges) {
  auto limits = options(2 * kMiB);
  limits.max_disksize = 2 * kMiB;
  auto pool = must(Pool::open(limits));
  const auto a = set(pool, 1), b = set(pool, 2);
  const auto before = store_stats(pool);
  EXPECT_EQ(code(pool.poolset(pattern(3 * kMiB))), Code::kNoSpace);
  // Fits the memory, but the two that would have to go do not fit the quota together.
  EXPECT_EQ(code(pool.poolset(pattern(2 * kMiB))), Code::kNoSpace);
  const auto after = store_stats(pool);
  EXPECT_EQ(after.payload_bytes, before.payload_bytes);
  EXPECT_EQ(after.blobs, before.blobs);
  EXPECT_EQ(after.disk_bytes, 0U);
  EXPECT_EQ(after.evictions, 0U);
  EXPECT_THAT(where_are(pool, {a, b}), ElementsAre("memory", "memory"));
  EXPECT_THAT(blob_files(), IsEmpty());
  EXPECT_THAT(temporary_files(), IsEmpty());
  EXPECT_TRUE(holds(pool, a, 1));
  EXPECT_TRUE(holds(pool, b, 2));
}

TEST_F(PoolTest, C72_AllDeletedLeavesNothing) {
  auto pool = must(Pool::open(options(3 * kMiB)));
  std::vector<DRef> refs;
  for (std::uint64_t i = 0; i < 8; ++i) refs.push_back(set(pool, i));
  refs.push_back(set(pool, 8, 0));
  refs.push_back(set(pool, 9, 4 * kMiB));
  EXPECT_TRUE(holds(pool, refs[0], 0));
  must(pool.copytodisk(refs[0]));
  for (const auto& ref : refs) must(pool.pooldelete(ref));
  const auto stats = store_stats(pool);
  EXPECT_EQ(stats.blobs, 0U);
  EXPECT_EQ(stats.blobs_in_memory, 0U);
  EXPECT_EQ(stats.blobs_on_disk, 0U);
  EXPECT_EQ(stats.payload_bytes, 0U);
  EXPECT_EQ(stats.disk_bytes, 0U);
  EXPECT_EQ(stats.pinned_blobs, 0U);
  EXPECT_THAT(blob_files(), IsEmpty());
  EXPECT_THAT(temporary_files(), IsEmpty());
}

TEST_F(PoolTest, C73_FailedSpillLeavesCountersOrderAndBytes) {
  auto pool = must(Pool::open(options(2 * kMiB)));
  const auto session = session_directory(pool);
  const auto a = set(pool, 1), b = set(pool, 2);
  const auto before = store_stats(pool);
  {
    const BrokenDisk broken(session);
    const auto refused = pool.poolset(pattern(kMiB, 3));
    EXPECT_EQ(code(refused), Code::kIo) << message(refused);
    EXPECT_EQ(code(pool.poolset(pattern(3 * kMiB, 3))), Code::kIo);
  }
  const auto after = store_stats(pool);
  EXPECT_EQ(after.payload_bytes, before.payload_bytes);
  EXPECT_EQ(after.disk_bytes, before.disk_bytes);
  EXPECT_EQ(after.spilled_bytes, before.spilled_bytes);
  EXPECT_EQ(after.blobs, before.blobs);
  EXPECT_EQ(after.evictions, 0U);
  EXPECT_THAT(where_are(pool, {a, b}), ElementsAre("memory", "memory"));
  // The order is what it was: with the disk back, the oldest goes.
  set(pool, 4);
  EXPECT_THAT(where_are(pool, {a, b}), ElementsAre("disk", "memory"));
  EXPECT_TRUE(holds(pool, a, 1));
  EXPECT_TRUE(holds(pool, b, 2));
}

TEST_F(PoolTest, C74_WithTheQuotaFullGetsAndDeletesGoOnAndItRecovers) {
  auto limits = options(2 * kMiB);
  limits.max_disksize = 2 * (kMiB + 4096);
  auto pool = must(Pool::open(limits));
  std::vector<DRef> refs;
  for (std::uint64_t i = 0; i < 4; ++i) refs.push_back(set(pool, i));
  EXPECT_EQ(code(pool.poolset(pattern(kMiB, 9))), Code::kNoSpace);
  for (std::uint64_t i = 2; i < 4; ++i) EXPECT_TRUE(holds(pool, refs[i], i));
  // Both of the spilled ones are readable, though memory has no room and nothing can be spilled.
  EXPECT_EQ(code(pool.poolset(pattern(kMiB, 9))), Code::kNoSpace);
  must(pool.pooldelete(refs[0]));
  const auto after = set(pool, 9);
  EXPECT_TRUE(holds(pool, after, 9));
  for (std::uint64_t i = 1; i < 4; ++i) must(pool.pooldelete(refs[i]));
  must(pool.pooldelete(after));
  EXPECT_EQ(store_stats(pool).disk_bytes, 0U);
  EXPECT_EQ(store_stats(pool).payload_bytes, 0U);
}

TEST_F(PoolTest, C74_WithTheDiskFullNothingIsCorruptedAndItRecovers) {
  const auto disk = SmallDisk::mount(directory_ / "disk", 4 * kMiB);
  if (!disk) GTEST_SKIP() << "SKIPPED: mounting a tmpfs is not allowed here";
  auto limits = options(2 * kMiB);
  limits.spill_dir = directory_ / "disk" / "spill";
  auto pool = must(Pool::open(limits));
  std::vector<DRef> refs;
  Result<DRef> refused = fail(Code::kOk, "");
  for (std::uint64_t i = 0; i < 16; ++i) {
    refused = pool.poolset(pattern(kMiB, i));
    if (!refused) break;
    refs.push_back(*refused);
  }
  ASSERT_EQ(code(refused), Code::kNoSpace) << message(refused);
  ASSERT_GE(refs.size(), 4U);
  for (std::size_t i = refs.size() - 2; i < refs.size(); ++i) EXPECT_TRUE(holds(pool, refs[i], i));
  EXPECT_THAT(files_below(limits.spill_dir, ".tmp"), IsEmpty());
  must(pool.pooldelete(refs[0]));
  const auto fresh = set(pool, 99);
  EXPECT_TRUE(holds(pool, fresh, 99));
  must(pool.pooldelete(fresh));
  for (std::size_t i = 1; i < refs.size(); ++i) EXPECT_TRUE(holds(pool, refs[i], i)) << i;
}

TEST_F(PoolTest, C76_PinnedIsNeverEvicted) {
  auto pool = must(Pool::open(options(3 * kMiB)));
  const auto a = set(pool, 1), b = set(pool, 2), c = set(pool, 3);
  auto pin = must(pool.poolget(a));
  // Most recent by the get; make it the oldest again.
  EXPECT_TRUE(holds(pool, b, 2));
  EXPECT_TRUE(holds(pool, c, 3));
  EXPECT_EQ(must(pool.inspect(a)).pins, 1U);
  EXPECT_EQ(store_stats(pool).pinned_blobs, 1U);
  set(pool, 4);
  EXPECT_THAT(where_are(pool, {a, b, c}), ElementsAre("memory", "disk", "memory"));
  EXPECT_TRUE(same(pin.bytes(), pattern(kMiB, 1)));
  pin.reset();
  set(pool, 5);
  EXPECT_THAT(where_are(pool, {a, b, c}), ElementsAre("disk", "disk", "memory"));
}

TEST_F(PoolTest, C76_WithAllPinnedASetGoesToDisk) {
  auto pool = must(Pool::open(options(2 * kMiB)));
  const auto a = set(pool, 1), b = set(pool, 2);
  const auto pin_a = must(pool.poolget(a));
  const auto pin_b = must(pool.poolget(b));
  const auto c = set(pool, 3);
  EXPECT_THAT(where_are(pool, {a, b, c}), ElementsAre("memory", "memory", "disk"));
  EXPECT_TRUE(same(pin_a.bytes(), pattern(kMiB, 1)));
}

TEST_F(PoolTest, ViewOfADeletedBlobStaysValid) {
  auto pool = must(Pool::open(options(2 * kMiB)));
  const auto a = set(pool, 1);
  const auto view = must(pool.poolget(a));
  must(pool.pooldelete(a));
  for (std::uint64_t i = 2; i < 8; ++i) set(pool, i);
  EXPECT_TRUE(same(view.bytes(), pattern(kMiB, 1)));
  EXPECT_EQ(code(pool.poolget(a)), Code::kNotFound);
}

TEST_F(PoolTest, C79_GetIsNotDelayedByAnotherBlobsWrite) {
  constexpr std::uint64_t kBig = 192 * kMiB;
  auto pool = must(Pool::open(options(2 * kBig)));
  const auto big = set(pool, 1, kBig);
  const auto small = set(pool, 2, 4096);
  std::atomic<bool> done{false};
  std::thread writer([&] {
    must(pool.copytodisk(big));
    done = true;
  });
  // A get counts if the write's file was there before it, and the write not over after it.
  int gets_during_the_write = 0;
  const bool seen = eventually([&] {
    const bool writing = !temporary_files().empty();
    for (int i = 0; i < 100; ++i) EXPECT_TRUE(holds(pool, small, 2));
    if (writing && !done) ++gets_during_the_write;
    return gets_during_the_write >= 3 || done;
  });
  writer.join();
  EXPECT_TRUE(seen);
  EXPECT_GE(gets_during_the_write, 3) << "the gets waited for the write";
}

TEST_F(PoolTest, C88_DropOnEvictIsDiscarded) {
  auto pool = must(Pool::open(options(2 * kMiB)));
  const auto a = set(pool, 1, kMiB, {.drop_on_evict = true});
  const auto b = set(pool, 2);
  set(pool, 3);
  EXPECT_THAT(where_are(pool, {a, b}), ElementsAre("NotFound", "memory"));
  EXPECT_EQ(code(pool.poolget(a)), Code::kNotFound);
  EXPECT_EQ(store_stats(pool).disk_bytes, 0U);
  EXPECT_EQ(store_stats(pool).spilled_bytes, 0U);
  EXPECT_THAT(blob_files(), IsEmpty());
}

}  // namespace
}  // namespace mempool::test
