// The memory limit, the order of use and what leaves memory, at the level of the store.
#include <algorithm>
#include <atomic>
#include <fstream>
#include <numeric>
#include <string>
#include <thread>

#include <unistd.h>

#include "store_fixture.h"
#include "support/eventually.h"

namespace mempool::store::testing {
namespace {

using namespace std::chrono_literals;
using test::eventually;

TEST_F(StoreTest, C61_ZeroLimitOrUnknownPolicyIsRefused) {
  StoreOptions options;
  options.max_memsize = 0;
  auto store = Store::create(options, nullptr);
  ASSERT_FALSE(store);
  EXPECT_EQ(store.error().code, Code::kInvalidArgument);
  EXPECT_NE(store.error().message.find("max_memsize"), std::string::npos);
  options.max_memsize = 20;
  options.policy = static_cast<Policy>(7);
  store = Store::create(options, nullptr);
  ASSERT_FALSE(store);
  EXPECT_EQ(store.error().code, Code::kInvalidArgument);
  EXPECT_NE(store.error().message.find("policy"), std::string::npos);
}

TEST_F(StoreTest, C62_SetsWithinTheLimitStayInMemoryNewestFirst) {
  open(30);
  const auto a = set(10, 1);
  const auto b = set(10, 2);
  const auto c = set(10, 3);
  EXPECT_EQ(store_->order(), (Objects{c, b, a}));
  EXPECT_EQ(store_->stats().payload_bytes, 30U);
  EXPECT_EQ(disk_->created, 0);
}

TEST_F(StoreTest, C63_LeastRecentlyUsedGoesToDisk) {
  open(20);
  const auto a = set(10, 1);
  const auto b = set(10, 2);
  const auto c = set(10, 3);
  EXPECT_EQ(store_->order(), (Objects{c, b}));
  EXPECT_FALSE(in_memory(a));
  EXPECT_TRUE(on_disk(a));
  EXPECT_FALSE(on_disk(b));
  const StoreStats stats = store_->stats();
  EXPECT_EQ(stats.payload_bytes, 20U);
  EXPECT_EQ(stats.spilled_bytes, 10U);
  EXPECT_EQ(stats.evictions, 1U);
  EXPECT_TRUE(holds(a, 10, 1));
}

TEST_F(StoreTest, C64_WithMruTheMostRecentExistingOneGoes) {
  open(20, Policy::kMru);
  const auto a = set(10, 1);
  const auto b = set(10, 2);
  EXPECT_EQ(store_->plan_eviction(10), (Objects{b}));
  const auto c = set(10, 3);
  EXPECT_EQ(store_->order(), (Objects{c, a}));
  EXPECT_TRUE(on_disk(b));
  EXPECT_EQ(store_->plan_eviction(20), (Objects{c, a}));
}

TEST_F(StoreTest, C65_ReadingInMemoryMakesMostRecentAndMovesNothing) {
  open(30);
  const auto a = set(10, 1);
  const auto b = set(10, 2);
  const auto c = set(10, 3);
  const auto* before = get(a).data();
  EXPECT_EQ(store_->order(), (Objects{a, c, b}));
  EXPECT_EQ(get(a).data(), before);
  EXPECT_EQ(disk_->created, 0);
  ASSERT_TRUE(store_->locate(b));
  EXPECT_EQ(store_->order(), (Objects{b, a, c}));
  store_->touch(c);
  EXPECT_EQ(store_->order(), (Objects{c, b, a}));
}

TEST_F(StoreTest, C66_ReadingSpilledMakesItMostRecentAndSpillsOthers) {
  open(20);
  const auto a = set(10, 1);
  const auto b = set(10, 2);
  const auto c = set(10, 3);
  EXPECT_TRUE(holds(a, 10, 1));
  EXPECT_EQ(store_->order(), (Objects{a, c}));
  EXPECT_TRUE(on_disk(b));
  EXPECT_EQ(store_->stats().payload_bytes, 20U);
  EXPECT_EQ(get(a).path(), Path::kMappedFile);
  EXPECT_EQ(disk_->mapped, 1);  // kept, not mapped again
}

TEST_F(StoreTest, C67_SeveralVictimsExactlyTheNeededOnesOrderPreserved) {
  open(50);
  Objects blobs;
  for (std::uint64_t i = 0; i < 5; ++i) blobs.push_back(set(10, i));
  EXPECT_EQ(store_->plan_eviction(25), (Objects{blobs[0], blobs[1], blobs[2]}));
  const auto large = set(25, 9);
  EXPECT_EQ(store_->order(), (Objects{large, blobs[4], blobs[3]}));
  EXPECT_EQ(store_->stats().evictions, 3U);
  for (std::uint64_t i = 0; i < 5; ++i) EXPECT_TRUE(holds(blobs[i], 10, i));
}

TEST_F(StoreTest, C68_DeletingChangesNothingElsesOrder) {
  open(40);
  const auto a = set(10, 1);
  const auto b = set(10, 2);
  const auto c = set(10, 3);
  const auto d = set(10, 4);
  const auto e = set(10, 5);  // spills a
  ASSERT_TRUE(store_->remove(c));
  EXPECT_EQ(store_->order(), (Objects{e, d, b}));
  ASSERT_TRUE(store_->remove(a));
  EXPECT_EQ(store_->order(), (Objects{e, d, b}));
  EXPECT_EQ(disk_->files(), 0U);
  EXPECT_EQ(store_->remove(a).error().code, Code::kNotFound);
}

TEST_F(StoreTest, C69_LargerThanTheLimitGoesStraightToDisk) {
  open(20);
  const auto a = set(10, 1);
  const auto large = set(100, 2);
  EXPECT_FALSE(in_memory(large));
  EXPECT_TRUE(holds(large, 100, 2));
  EXPECT_FALSE(in_memory(large));
  EXPECT_EQ(store_->order(), (Objects{a}));
  EXPECT_EQ(store_->stats().payload_bytes, 10U);
  EXPECT_EQ(store_->locate(large)->hint.generation, 0U);
  EXPECT_NE(*store_->file(large), nullptr);
}

TEST_F(StoreTest, C70_FitsNeitherMemoryNorDiskIsRefused) {
  open(20);
  disk_->quota = DiskControl::kOverhead + 50;
  const auto a = set(10, 1);
  EXPECT_EQ(code_of_set(100), Code::kNoSpace);
  EXPECT_EQ(store_->order(), (Objects{a}));
  EXPECT_EQ(store_->stats().payload_bytes, 10U);
  EXPECT_EQ(store_->stats().blobs, 1U);
  EXPECT_EQ(disk_->used, 0U);
  EXPECT_EQ(disk_->files(), 0U);
}

TEST_F(StoreTest, C70_VictimsThatDoNotFitTheDiskStay) {
  open(40);
  const auto a = set(20, 1);
  const auto b = set(20, 2);
  disk_->quota = DiskControl::kOverhead + 30;  // one victim, not two, and not the blob
  EXPECT_EQ(code_of_set(40), Code::kNoSpace);
  EXPECT_EQ(store_->order(), (Objects{b, a}));
  EXPECT_TRUE(store_->plan_eviction(40).empty());
  EXPECT_EQ(store_->plan_eviction(20), (Objects{a}));
  EXPECT_EQ(disk_->files(), 0U);
}

TEST_F(StoreTest, WithoutADiskASetOverTheLimitIsNoSpace) {
  StoreOptions options;
  options.max_memsize = 20;
  open(options, false);
  const auto a = set(20, 1);
  EXPECT_EQ(code_of_set(1), Code::kNoSpace);
  EXPECT_EQ(code_of_set(21), Code::kNoSpace);
  EXPECT_EQ(store_->write_to_disk(a, true).error().code, Code::kUnsupported);
  EXPECT_TRUE(holds(a, 20, 1));
}

TEST_F(StoreTest, C72_EverythingDeletedLeavesNothing) {
  open(100);
  Objects blobs;
  for (std::uint64_t i = 0; i < 40; ++i) blobs.push_back(set(i * 3, i));
  for (std::uint64_t i = 0; i < 40; i += 3) EXPECT_TRUE(holds(blobs[i], i * 3, i));
  EXPECT_LE(store_->stats().payload_bytes, 100U);
  for (const auto blob : blobs) EXPECT_TRUE(store_->remove(blob));
  expect_nothing_left();
}

TEST_F(StoreTest, C76_PinnedIsNeverEvictedTheNextOnesAre) {
  open(30);
  const auto a = set(10, 1);
  const auto b = set(10, 2);
  const auto c = set(10, 3);
  View pinned = get(a);
  store_->touch(b);
  store_->touch(c);
  EXPECT_EQ(store_->order(), (Objects{c, b, a}));
  EXPECT_EQ(store_->plan_eviction(10), (Objects{b}));
  const auto d = set(10, 4);
  EXPECT_EQ(store_->order(), (Objects{d, c, a}));
  EXPECT_TRUE(same(pinned, pattern(10, 1)));
  pinned.reset();
  EXPECT_EQ(store_->plan_eviction(10), (Objects{a}));
}

TEST_F(StoreTest, EverythingPinnedSendsTheBlobToDisk) {
  open(20);
  const View a = get(set(20, 1));
  EXPECT_TRUE(store_->plan_eviction(5).empty());
  const auto b = set(5, 2);
  EXPECT_FALSE(in_memory(b));
  EXPECT_TRUE(holds(b, 5, 2));
  EXPECT_FALSE(in_memory(b));  // shown from a mapping that is not kept
  EXPECT_EQ(store_->stats().payload_bytes, 20U);
}

TEST_F(StoreTest, C79_AGetInMemoryIsNotDelayedByAnothersWrite) {
  open(20);
  const auto a = set(10, 1);
  const auto b = set(10, 2);
  disk_->write_gate.close();
  std::thread setter([this] { set(10, 3); });
  ASSERT_TRUE(disk_->write_gate.wait_for_arrivals(1));
  // The write of `a` stands still; both blobs are read, and what has room is set.
  EXPECT_TRUE(holds(b, 10, 2));
  EXPECT_TRUE(holds(a, 10, 1));
  EXPECT_EQ(set(0, 4) == 0, false);
  EXPECT_TRUE(store_->locate(a));
  disk_->write_gate.open();
  setter.join();
  EXPECT_EQ(store_->stats().payload_bytes, 20U);
}

TEST_F(StoreTest, AVictimPinnedDuringItsWriteStaysAndAnotherIsTaken) {
  open(20);
  const auto a = set(10, 1);
  const auto b = set(10, 2);
  disk_->write_gate.close();
  std::thread setter([this] { set(10, 3); });
  ASSERT_TRUE(disk_->write_gate.wait_for_arrivals(1));
  const View pinned = get(a);
  disk_->write_gate.open();
  setter.join();
  EXPECT_TRUE(in_memory(a));
  EXPECT_TRUE(on_disk(a));
  EXPECT_FALSE(in_memory(b));
  EXPECT_EQ(disk_->created, 2);
  EXPECT_TRUE(same(pinned, pattern(10, 1)));
}

TEST_F(StoreTest, C87_EvictableOrder) {
  open(20);
  const auto a = set(10, 1);
  EXPECT_EQ(store_->plan_eviction(10), Objects{});
  EXPECT_EQ(store_->plan_eviction(11), (Objects{a}));
  const auto b = set(10, 2);
  EXPECT_EQ(store_->plan_eviction(1), (Objects{a}));
  EXPECT_EQ(store_->plan_eviction(11), (Objects{a, b}));
  store_->touch(a);
  EXPECT_EQ(store_->plan_eviction(1), (Objects{b}));
  EXPECT_EQ(store_->plan_eviction(11), (Objects{b, a}));
  EXPECT_EQ(store_->plan_eviction(21), Objects{});
}

TEST_F(StoreTest, C88_DropOnEvictIsDiscarded) {
  open(20);
  BlobOptions options;
  options.drop_on_evict = true;
  const auto a = set(10, 1, options);
  set(10, 2);
  set(10, 3);
  EXPECT_EQ(code_of_get(a), Code::kNotFound);
  EXPECT_EQ(disk_->created, 0);
  EXPECT_EQ(store_->stats().blobs, 2U);
}

TEST_F(StoreTest, C88_DropOnEvictNeedsNoDisk) {
  StoreOptions memory_only;
  memory_only.max_memsize = 20;
  open(memory_only, false);
  BlobOptions options;
  options.drop_on_evict = true;
  const auto kept = set(10, 1);
  const auto dropped = set(10, 2, options);
  set(10, 3);
  EXPECT_TRUE(holds(kept, 10, 1));
  EXPECT_EQ(code_of_get(dropped), Code::kNotFound);
}

TEST_F(StoreTest, C9_ADroppedDraftLeavesNothing) {
  open(20);
  {
    auto draft = store_->begin(15, {});
    ASSERT_TRUE(draft);
    EXPECT_EQ(store_->stats().payload_bytes, 15U);
    ASSERT_TRUE(draft->append(pattern(5, 1)));
    EXPECT_EQ(draft->commit().error().code, Code::kInvalidArgument);
    EXPECT_EQ(draft->append(pattern(11, 1)).error().code, Code::kInvalidArgument);
  }
  {
    auto draft = store_->begin(100, {});
    ASSERT_TRUE(draft);
    ASSERT_TRUE(draft->append(pattern(50, 1)));
    EXPECT_NE(disk_->used, 0U);
  }
  expect_nothing_left();
}

TEST_F(StoreTest, C9_AFailedSetStraightToDiskLeavesNothing) {
  open(20);
  disk_->writes_until_failure = 0;
  EXPECT_EQ(code_of_set(100), Code::kNoSpace);
  expect_nothing_left();
}

TEST_F(StoreTest, ADraftIsWrittenInPieces) {
  open(100);
  const auto bytes = pattern(60, 5);
  const std::span<const std::byte> all(bytes);
  auto draft = store_->begin(60, {});
  ASSERT_TRUE(draft);
  Store::Draft moved = std::move(*draft);
  ASSERT_TRUE(moved.append(all.first(10)));
  ASSERT_TRUE(moved.append({}));
  ASSERT_TRUE(moved.append(all.subspan(10)));
  auto placed = moved.commit();
  ASSERT_TRUE(placed);
  EXPECT_EQ(moved.commit().error().code, Code::kClosed);
  EXPECT_TRUE(holds(placed->object, 60, 5));
}

TEST_F(StoreTest, EmptyBlobsWorkEverywhere) {
  open(20);
  const auto a = set(0, 1);
  EXPECT_EQ(get(a).size(), 0U);
  ASSERT_TRUE(store_->write_to_disk(a, true));
  EXPECT_FALSE(in_memory(a));
  EXPECT_EQ(get(a).size(), 0U);
  EXPECT_TRUE(in_memory(a));
  ASSERT_TRUE(store_->load(a));
  EXPECT_NE(store_->locate(a)->hint.generation, 0U);
  ASSERT_TRUE(store_->remove(a));
  expect_nothing_left();
}

TEST_F(StoreTest, C10_IdsAreNeverReused) {
  open(1000);
  std::vector<std::uint64_t> seen;
  for (int i = 0; i < 1000; ++i) {
    seen.push_back(set(10, 1));
    ASSERT_TRUE(store_->remove(seen.back()));
  }
  std::sort(seen.begin(), seen.end());
  EXPECT_EQ(std::adjacent_find(seen.begin(), seen.end()), seen.end());
  for (const auto object : seen) EXPECT_EQ(code_of_get(object), Code::kNotFound);
  EXPECT_EQ(code_of_get(0), Code::kNotFound);
  EXPECT_EQ(code_of_get(UINT64_MAX), Code::kNotFound);
}

TEST_F(StoreTest, ADeletedBlobLivesOnInItsView) {
  open(20);
  const auto a = set(20, 1);
  View view = get(a);
  ASSERT_TRUE(store_->remove(a));
  EXPECT_EQ(code_of_get(a), Code::kNotFound);
  EXPECT_EQ(store_->stats().payload_bytes, 20U);  // memory that is shown is memory in use
  set(20, 2);                                     // goes to disk: nothing may go for it
  EXPECT_TRUE(same(view, pattern(20, 1)));
  view.reset();
  EXPECT_EQ(store_->stats().payload_bytes, 0U);
}

TEST_F(StoreTest, ViewsMayOutliveTheStore) {
  open(40);
  View in_arena = get(set(20, 1));
  const auto b = set(10, 2);
  ASSERT_TRUE(store_->write_to_disk(b, true));
  View mapped = get(b);
  store_.reset();
  EXPECT_TRUE(same(in_arena, pattern(20, 1)));
  in_arena.reset();
  EXPECT_TRUE(same(mapped, pattern(10, 2)));
}

/// Whether a thread of this process waits in the kernel.
bool sleeps(pid_t thread) {
  std::ifstream in("/proc/self/task/" + std::to_string(thread) + "/stat");
  std::string stat;
  std::getline(in, stat);
  const auto name_end = stat.rfind(") ");
  return name_end != std::string::npos && stat.substr(name_end + 2, 1) == "S";
}

TEST_F(StoreTest, AViewThatEndsWithTheStoreTakesNothingFromOtherViews) {
  open(1 << 20);
  // In the first slot: dropped under the table lock when the store ends, before the others are
  // looked at.
  ASSERT_TRUE(store_->adopt(make_test_file(disk_, "first", pattern(1, 0)), {}));
  const auto a = set(1000, 1);
  View ending = get(a);
  View kept = get(set(1000, 2));
  ASSERT_TRUE(store_->remove(a));
  std::thread other;
  std::atomic<pid_t> other_id{0};
  disk_->on_file_drop = [&] {
    other = std::thread([&] {
      other_id = ::gettid();
      ending.reset();
    });
    EXPECT_TRUE(eventually([&] { return other_id != 0 && sleeps(other_id); }))
        << "the view does not wait for the table lock";
  };
  store_.reset();
  other.join();
  EXPECT_TRUE(same(kept, pattern(1000, 2)));
}

TEST_F(StoreTest, TheDiskEndsOutsideOfTheTableLock) {
  open(1 << 20);
  const auto a = set(1000, 1);
  View ending = get(a);
  View kept = get(set(1000, 2));
  ASSERT_TRUE(store_->remove(a));
  std::thread other;
  std::atomic<bool> ended{false};
  disk_->on_end = [&] {
    other = std::thread([&] {
      ending.reset();
      ended = true;
    });
    EXPECT_TRUE(eventually([&] { return ended.load(); }, 10s));
  };
  store_.reset();
  other.join();
  EXPECT_TRUE(same(kept, pattern(1000, 2)));
}

TEST_F(StoreTest, AForkedChildMayDropItsParentsViews) {
  open(1 << 20);
  const auto a = set(1000, 1);
  const auto b = set(1000, 2);
  const auto c = set(1000, 3);
  ASSERT_TRUE(store_->write_to_disk(c, true));
  View deleted = get(a);
  View moved = get(b);
  View mapped = get(c);
  ASSERT_TRUE(store_->remove(a));
  ASSERT_TRUE(store_->write_to_disk(b, true));
  ASSERT_TRUE(store_->write_to_disk(c, true));
  const auto drop_all_and_exit = [&] {
    ::alarm(20);
    deleted.reset();
    moved.reset();
    mapped.reset();
    ::_exit(0);
  };
  EXPECT_EXIT(drop_all_and_exit(), ::testing::ExitedWithCode(0), "");
  EXPECT_TRUE(same(deleted, pattern(1000, 1)));
  EXPECT_TRUE(same(moved, pattern(1000, 2)));
  EXPECT_TRUE(same(mapped, pattern(1000, 3)));
}

TEST_F(StoreTest, ABlobOfTheWholeLimitFits) {
  for (const std::uint64_t limit : {1ULL, 4096ULL, 1ULL << 20, 10'000'000ULL, 33'554'433ULL}) {
    open(limit);
    const auto a = set(limit, 1);
    EXPECT_TRUE(in_memory(a)) << limit;
    const auto b = set(limit, 2);
    EXPECT_TRUE(in_memory(b)) << limit;
    EXPECT_FALSE(in_memory(a)) << limit;
    ASSERT_TRUE(store_->remove(a));
    ASSERT_TRUE(store_->remove(b));
  }
}

// 128 bytes or more of memory for each byte of payload: 8 MiB are full long before the limit.
TEST_F(StoreTest, SmallBlobsThatFillTheArenaBeforeTheLimitAreDiscarded) {
  StoreOptions memory_only;
  memory_only.max_memsize = 1 << 20;
  BlobOptions options;
  options.drop_on_evict = true;
  for (const bool with_disk : {false, true}) {
    open(memory_only, with_disk);
    std::uint64_t last = 0;
    for (std::uint64_t i = 0; i < 100'000; ++i) last = set(1, i, options);
    EXPECT_GT(store_->stats().fragmentation_evictions, 0U);
    EXPECT_TRUE(holds(last, 1, 99'999));
    EXPECT_EQ(disk_->created, 0);
  }
}

TEST_F(StoreTest, BlobsThatFillTheArenaBeforeTheLimitAreSpilled) {
  open(1 << 20);
  Objects blobs;
  while (disk_->created == 0 && blobs.size() < 200'000) blobs.push_back(set(1, blobs.size()));
  ASSERT_GT(store_->stats().fragmentation_evictions, 0U);
  EXPECT_TRUE(on_disk(blobs[0]));
  EXPECT_FALSE(on_disk(blobs[2]));  // twice what was asked for, and no more
  EXPECT_TRUE(in_memory(blobs.back()));
  EXPECT_TRUE(holds(blobs[0], 1, 0));
}

TEST_F(StoreTest, OverheadOfASmallBlobInMemory) {
  EXPECT_LE(Store::overhead_bytes(), 128U);
  RecordProperty("overhead_bytes", static_cast<int>(Store::overhead_bytes()));
  std::printf("overhead of a blob in memory: %zu bytes\n", Store::overhead_bytes());
}

TEST_F(StoreTest, HitsAndMissesAreCounted) {
  open(20);
  const auto a = set(10, 1);
  get(a);
  ASSERT_TRUE(store_->locate(a));
  EXPECT_EQ(code_of_get(12345), Code::kNotFound);
  ASSERT_TRUE(store_->write_to_disk(a, true));
  ASSERT_TRUE(store_->locate(a));
  get(a);
  EXPECT_EQ(store_->stats().hits, 2U);
  EXPECT_EQ(store_->stats().misses, 3U);
}

}  // namespace
}  // namespace mempool::store::testing
