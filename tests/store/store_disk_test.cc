// Moves between memory and disk, their failures, and those who wait for them.
#include <future>
#include <thread>

#include "store_fixture.h"

namespace mempool::store::testing {
namespace {

TEST_F(StoreTest, C42_AFreshBlobIsInMemoryAndNotOnDisk) {
  open(20);
  BlobOptions options;
  options.type_name = "text";
  options.retain = true;
  const auto a = set(10, 1, options);
  const BlobInfo info = store_->inspect(a).value();
  EXPECT_TRUE(info.in_memory);
  EXPECT_FALSE(info.on_disk);
  EXPECT_TRUE(info.file.empty());
  EXPECT_EQ(info.type_name, "text");
  EXPECT_TRUE(info.retain);
  EXPECT_EQ(info.ref.length, 10U);
  EXPECT_NE(info.ref.hint.generation, 0U);
  EXPECT_EQ(get(a).path(), Path::kInProcess);
}

TEST_F(StoreTest, C45_AllWhoWaitForAFailedWriteGetItsError) {
  open(20);
  const auto a = set(10, 1);
  disk_->write_gate.close();
  disk_->writes_until_failure = 0;
  auto first = std::async(std::launch::async, [&] { return store_->write_to_disk(a, true); });
  ASSERT_TRUE(disk_->write_gate.wait_for_arrivals(1));
  auto second = std::async(std::launch::async, [&] { return store_->write_to_disk(a, false); });
  // Whether the second waits for the first or tries again itself, it gets the error.
  disk_->write_gate.open();
  EXPECT_EQ(first.get().error().code, Code::kNoSpace);
  EXPECT_EQ(second.get().error().code, Code::kNoSpace);
  EXPECT_TRUE(in_memory(a));
  EXPECT_FALSE(on_disk(a));
  EXPECT_TRUE(holds(a, 10, 1));
  EXPECT_EQ(disk_->files(), 0U);
  EXPECT_EQ(disk_->used, 0U);
  disk_->writes_until_failure = -1;
  EXPECT_TRUE(store_->write_to_disk(a, true));
}

TEST_F(StoreTest, C45_AFailedMapLeavesTheBlobOnDisk) {
  open(20);
  const auto a = set(10, 1);
  ASSERT_TRUE(store_->write_to_disk(a, true));
  disk_->fail_maps = true;
  EXPECT_EQ(code_of_get(a), Code::kCorrupt);
  EXPECT_EQ(store_->load(a).error().code, Code::kCorrupt);
  EXPECT_EQ(store_->stats().payload_bytes, 0U);
  EXPECT_TRUE(on_disk(a));
  disk_->fail_maps = false;
  EXPECT_TRUE(holds(a, 10, 1));
}

TEST_F(StoreTest, NoMoreBlobsAreKeptMappedThanTheSystemBears) {
  disk_->may_be_mapped = 4;
  open(1000);
  const auto in_arena = set(10, 99);  // older than all of them, and stays
  std::vector<std::uint64_t> objects;
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    objects.push_back(set(seed % 2 ? 10 : 0, seed));  // empty ones count for nothing but this
    ASSERT_TRUE(store_->write_to_disk(objects.back(), true));
  }
  for (std::uint64_t seed = 0; seed < 20; ++seed)
    EXPECT_TRUE(holds(objects[seed], seed % 2 ? 10 : 0, seed));
  Objects kept(objects.rbegin(), objects.rbegin() + 4);
  kept.push_back(in_arena);
  EXPECT_EQ(store_->order(), kept);
  // While somebody looks at all of them, none can go: others are shown all the same.
  std::vector<View> views;
  for (const auto object : kept) views.push_back(get(object));
  EXPECT_TRUE(holds(objects[1], 10, 1));
  EXPECT_EQ(store_->order().size(), 5U);
  views.clear();
  objects.push_back(in_arena);
  for (const auto object : objects) EXPECT_TRUE(store_->remove(object));
  expect_nothing_left();
}

TEST_F(StoreTest, AFileThatCannotBeRemovedStaysTheBlobs) {
  for (auto* way : {&disk_->fail_removes, &disk_->removes_throw}) {
    open(20);
    const auto a = set(10, 1);
    const auto b = set(10, 2);
    disk_->writes_until_failure = 1;  // of two that make the room
    *way = true;
    EXPECT_EQ(code_of_set(20), Code::kNoSpace);
    EXPECT_TRUE(in_memory(a));
    EXPECT_TRUE(on_disk(a));
    EXPECT_EQ(disk_->files(), 1U);
    EXPECT_EQ(store_->stats().spilled_bytes, 10U);
    disk_->writes_until_failure = -1;
    *way = false;
    const auto c = set(20, 3);
    EXPECT_TRUE(holds(a, 10, 1));
    EXPECT_TRUE(holds(b, 10, 2));
    EXPECT_TRUE(holds(c, 20, 3));
    for (const auto object : {a, b, c}) EXPECT_TRUE(store_->remove(object));
    expect_nothing_left();
  }
}

TEST_F(StoreTest, MemoryThatTheSystemDoesNotGiveEndsTheMoveAndNothingElse) {
  open(20);
  const auto a = set(10, 1);
  disk_->out_of_memory = true;
  EXPECT_EQ(store_->write_to_disk(a, true).error().code, Code::kLimit);
  disk_->out_of_memory = false;
  ASSERT_TRUE(store_->write_to_disk(a, true));
  disk_->out_of_memory = true;
  EXPECT_EQ(code_of_get(a), Code::kLimit);
  EXPECT_EQ(store_->load(a).error().code, Code::kLimit);
  EXPECT_EQ(store_->stats().payload_bytes, 0U);
  disk_->out_of_memory = false;
  EXPECT_TRUE(holds(a, 10, 1));  // mapped
  disk_->out_of_memory = true;
  EXPECT_EQ(store_->load(a).error().code, Code::kLimit);
  disk_->out_of_memory = false;
  EXPECT_TRUE(store_->load(a));
  EXPECT_TRUE(holds(a, 10, 1));
  EXPECT_TRUE(store_->remove(a));
  expect_nothing_left();
}

TEST_F(StoreTest, C45_GetsOfOneSpilledBlobMapItOnce) {
  open(20);
  const auto a = set(10, 1);
  ASSERT_TRUE(store_->write_to_disk(a, true));
  disk_->map_gate.close();
  std::vector<std::future<bool>> readers;
  for (int i = 0; i < 4; ++i)
    readers.push_back(std::async(std::launch::async, [&] { return holds(a, 10, 1); }));
  ASSERT_TRUE(disk_->map_gate.wait_for_arrivals(1));
  disk_->map_gate.open();
  for (auto& reader : readers) EXPECT_TRUE(reader.get());
  EXPECT_EQ(disk_->mapped, 1);
}

TEST_F(StoreTest, ADeletionDuringAMapWaitsAndTheReaderHasItsBytes) {
  open(20);
  const auto a = set(10, 1);
  ASSERT_TRUE(store_->write_to_disk(a, true));
  disk_->map_gate.close();
  auto reader = std::async(std::launch::async, [&] { return holds(a, 10, 1); });
  ASSERT_TRUE(disk_->map_gate.wait_for_arrivals(1));
  auto deletion = std::async(std::launch::async, [&] { return store_->remove(a).has_value(); });
  disk_->map_gate.open();
  EXPECT_TRUE(reader.get());
  EXPECT_TRUE(deletion.get());
  expect_nothing_left();
}

TEST_F(StoreTest, C48_ADroppedCleanCopyReadsBackAndIsNotWrittenAgain) {
  open(20);
  const auto a = set(20, 1);
  ASSERT_TRUE(store_->write_to_disk(a, false));
  EXPECT_TRUE(in_memory(a));
  const auto b = set(20, 2);
  EXPECT_FALSE(in_memory(a));
  EXPECT_TRUE(holds(a, 20, 1));  // writes b
  EXPECT_TRUE(holds(b, 20, 2));
  EXPECT_TRUE(holds(a, 20, 1));
  EXPECT_EQ(disk_->created, 2);
  EXPECT_EQ(disk_->files(), 2U);
  EXPECT_EQ(store_->stats().spilled_bytes, 20U);
}

TEST_F(StoreTest, C50_RetainKeepsTheFileOfADeletedBlob) {
  open(20);
  BlobOptions options;
  options.retain = true;
  const auto a = set(20, 1, options);
  ASSERT_TRUE(store_->write_to_disk(a, true));
  ASSERT_TRUE(store_->remove(a));
  EXPECT_EQ(disk_->files(), 1U);
  EXPECT_EQ(store_->stats().blobs_on_disk, 0U);
}

TEST_F(StoreTest, C54_AnAdoptedFileIsReadByTheFirstGetAndStays) {
  open(20);
  auto placed = store_->adopt(make_test_file(disk_, "mine", pattern(15, 7)), {});
  ASSERT_TRUE(placed);
  EXPECT_EQ(placed->hint.generation, 0U);
  EXPECT_EQ(disk_->mapped + disk_->read, 0);
  EXPECT_FALSE(in_memory(placed->object));
  EXPECT_TRUE(holds(placed->object, 15, 7));
  EXPECT_EQ(disk_->mapped, 1);
  EXPECT_TRUE(store_->write_to_disk(placed->object, true));  // has one already
  EXPECT_EQ(disk_->created, 0);
  ASSERT_TRUE(store_->remove(placed->object));
  EXPECT_EQ(disk_->files(), 1U);
  EXPECT_EQ(store_->adopt(nullptr, {}).error().code, Code::kInvalidArgument);
}

TEST_F(StoreTest, C55_RepeatedCallsSucceedAndLeaveNoOrphan) {
  open(20);
  const auto a = set(10, 1);
  const auto first = store_->write_to_disk(a, false);
  ASSERT_TRUE(first);
  EXPECT_EQ(store_->write_to_disk(a, false).value(), *first);
  EXPECT_EQ(store_->write_to_disk(a, true).value(), *first);
  EXPECT_EQ(store_->write_to_disk(a, true).value(), *first);
  EXPECT_EQ(disk_->created, 1);
  EXPECT_EQ(store_->stats().payload_bytes, 0U);
  ASSERT_TRUE(store_->load(a));
  ASSERT_TRUE(store_->load(a));
  ASSERT_TRUE(store_->remove(a));
  EXPECT_EQ(store_->remove(a).error().code, Code::kNotFound);
  EXPECT_EQ(store_->write_to_disk(a, true).error().code, Code::kNotFound);
  EXPECT_EQ(store_->load(a).error().code, Code::kNotFound);
  expect_nothing_left();
}

TEST_F(StoreTest, C56_LoadMakesASpilledBlobResident) {
  open(20);
  const auto a = set(10, 1);
  const auto b = set(10, 2);
  const auto c = set(10, 3);
  ASSERT_TRUE(store_->load(a));
  EXPECT_EQ(store_->order(), (Objects{a, c}));
  EXPECT_EQ(disk_->mapped, 0);
  EXPECT_NE(store_->locate(a)->hint.generation, 0U);
  EXPECT_EQ(get(a).path(), Path::kInProcess);
  EXPECT_TRUE(holds(a, 10, 1));
  EXPECT_TRUE(on_disk(a));  // a clean copy
  EXPECT_TRUE(on_disk(b));
}

TEST_F(StoreTest, C56_LoadOfAMappedBlobReadsItsFile) {
  open(20);
  const auto a = set(20, 1);
  ASSERT_TRUE(store_->write_to_disk(a, true));
  View mapped = get(a);
  EXPECT_EQ(mapped.path(), Path::kMappedFile);
  ASSERT_TRUE(store_->load(a));  // in memory already, and shown: stays as it is
  EXPECT_EQ(store_->locate(a)->hint.generation, 0U);
  mapped.reset();
  ASSERT_TRUE(store_->load(a));
  EXPECT_EQ(disk_->read, 1);  // verified: not copied from a mapping that may have shrunk
  EXPECT_EQ(store_->stats().payload_bytes, 20U);
  EXPECT_EQ(get(a).path(), Path::kInProcess);
  EXPECT_TRUE(holds(a, 20, 1));
}

TEST_F(StoreTest, LoadOfWhatMemoryCannotHoldIsNoSpace) {
  open(20);
  const auto a = set(100, 1);
  EXPECT_EQ(store_->load(a).error().code, Code::kNoSpace);
  EXPECT_TRUE(holds(a, 100, 1));
}

TEST_F(StoreTest, C73_AFailedSpillLeavesEverythingAsItWas) {
  open(30);
  const auto a = set(10, 1);
  const auto b = set(10, 2);
  const auto c = set(10, 3);
  disk_->writes_until_failure = 2;  // of three victims the third fails
  EXPECT_EQ(code_of_set(30), Code::kNoSpace);
  EXPECT_EQ(store_->order(), (Objects{c, b, a}));
  const StoreStats stats = store_->stats();
  EXPECT_EQ(stats.payload_bytes, 30U);
  EXPECT_EQ(stats.spilled_bytes, 0U);
  EXPECT_EQ(stats.evictions, 0U);
  EXPECT_EQ(stats.blobs, 3U);
  EXPECT_EQ(stats.blobs_on_disk, 0U);
  EXPECT_EQ(disk_->files(), 0U);
  EXPECT_EQ(disk_->used, 0U);
  EXPECT_TRUE(holds(a, 10, 1));
  disk_->writes_until_failure = -1;
  set(30, 4);
  EXPECT_EQ(disk_->files(), 3U);
}

TEST_F(StoreTest, C73_AFileThatSomebodyWasToldOfStays) {
  open(20);
  const auto a = set(10, 1);
  set(10, 2);
  const auto file = store_->write_to_disk(a, false);
  ASSERT_TRUE(file);
  disk_->writes_until_failure = 0;
  EXPECT_EQ(code_of_set(20), Code::kNoSpace);
  EXPECT_EQ(disk_->files(), 1U);
  EXPECT_EQ(store_->write_to_disk(a, false).value(), *file);
}

TEST_F(StoreTest, C74_WithTheDiskFullReadsAndDeletesGoOnAndItRecovers) {
  open(20);
  const auto spilled = set(10, 1);
  ASSERT_TRUE(store_->write_to_disk(spilled, true));
  const auto a = set(10, 2);
  const auto b = set(10, 3);
  disk_->quota = disk_->used.load();
  EXPECT_EQ(code_of_set(1), Code::kNoSpace);
  EXPECT_TRUE(holds(spilled, 10, 1));  // from a mapping that is not kept
  EXPECT_FALSE(in_memory(spilled));
  EXPECT_TRUE(holds(a, 10, 2));
  ASSERT_TRUE(store_->remove(spilled));  // gives quota back
  set(10, 4);
  EXPECT_TRUE(on_disk(b));
}

TEST_F(StoreTest, AReleasedBlobThatIsPinnedGoesWithItsLastView) {
  open(30);
  const auto a = set(10, 1);
  const auto b = set(10, 2);
  View first = get(b);
  View second = get(b);
  ASSERT_TRUE(store_->write_to_disk(b, true));
  EXPECT_TRUE(in_memory(b));
  EXPECT_EQ(store_->order(), (Objects{a, b}));
  first.reset();
  EXPECT_TRUE(in_memory(b));
  EXPECT_TRUE(same(second, pattern(10, 2)));
  second.reset();
  EXPECT_FALSE(in_memory(b));
  EXPECT_EQ(store_->stats().payload_bytes, 10U);
  EXPECT_TRUE(holds(b, 10, 2));
}

TEST_F(StoreTest, ADeletionDuringAWriteWaitsAndLeavesNoFile) {
  open(20);
  const auto a = set(10, 1);
  disk_->write_gate.close();
  auto write = std::async(std::launch::async, [&] { return store_->write_to_disk(a, false); });
  ASSERT_TRUE(disk_->write_gate.wait_for_arrivals(1));
  auto deletion = std::async(std::launch::async, [&] { return store_->remove(a).has_value(); });
  disk_->write_gate.open();
  static_cast<void>(write.get());
  EXPECT_TRUE(deletion.get());
  expect_nothing_left();
}

TEST_F(StoreTest, ASetWaitsForTheOnlyVictimsWrite) {
  open(20);
  const auto a = set(20, 1);
  disk_->write_gate.close();
  auto write = std::async(std::launch::async, [&] { return store_->write_to_disk(a, false); });
  ASSERT_TRUE(disk_->write_gate.wait_for_arrivals(1));
  auto setter = std::async(std::launch::async, [&] { return set(20, 2); });
  disk_->write_gate.open();
  ASSERT_TRUE(write.get());
  EXPECT_TRUE(in_memory(setter.get()));
  EXPECT_FALSE(in_memory(a));
  EXPECT_EQ(disk_->created, 1);
}

TEST_F(StoreTest, ASetThatQueuesForRoomKeepsItsDeadline) {
  open(20);
  set(20, 1);
  disk_->write_gate.close();
  auto first = std::async(std::launch::async, [&] { return set(20, 2); });
  ASSERT_TRUE(disk_->write_gate.wait_for_arrivals(1));
  EXPECT_EQ(code_of_set(20, {.timeout_ms = 50}), Code::kTimeout);
  disk_->write_gate.open();
  EXPECT_TRUE(in_memory(first.get()));
  EXPECT_EQ(code_of_set(20, {.timeout_ms = 30'000}), Code::kOk);
}

TEST_F(StoreTest, ASetThatWaitsForAWriteEndsWhenTheStoreStops) {
  open(20);
  const auto a = set(20, 1);
  disk_->write_gate.close();
  auto write = std::async(std::launch::async, [&] { return store_->write_to_disk(a, false); });
  ASSERT_TRUE(disk_->write_gate.wait_for_arrivals(1));
  auto waiting = std::async(std::launch::async, [&] { return code_of_set(20); });
  store_->stop_waiting();
  EXPECT_EQ(waiting.get(), Code::kClosed) << "the gate is closed still";
  disk_->write_gate.open();
  EXPECT_TRUE(write.get());
  EXPECT_TRUE(holds(a, 20, 1));
}

TEST_F(StoreTest, WhoMakesRoomEndsWithItsWriteWhenTheStoreStops) {
  open(20);
  const auto a = set(10, 1);
  const auto b = set(10, 2);
  disk_->write_gate.close();
  auto first = std::async(std::launch::async, [&] { return code_of_set(20); });
  ASSERT_TRUE(disk_->write_gate.wait_for_arrivals(1));
  auto second = std::async(std::launch::async, [&] { return code_of_set(20); });
  store_->stop_waiting();
  disk_->write_gate.open();
  EXPECT_EQ(first.get(), Code::kClosed);
  EXPECT_EQ(second.get(), Code::kClosed);
  EXPECT_EQ(disk_->created, 1) << "the second victim was not written any more";
  EXPECT_EQ(disk_->files(), 0U);
  EXPECT_TRUE(holds(a, 10, 1));
  EXPECT_TRUE(holds(b, 10, 2));
  ASSERT_TRUE(store_->remove(a));
  set(10, 3);  // finds room
}

TEST_F(StoreTest, ADeletedMappedBlobLivesOnInItsView) {
  open(20);
  const auto a = set(10, 1);
  ASSERT_TRUE(store_->write_to_disk(a, true));
  View view = get(a);
  ASSERT_TRUE(store_->remove(a));
  EXPECT_EQ(disk_->files(), 0U);
  EXPECT_TRUE(same(view, pattern(10, 1)));
  view.reset();
  expect_nothing_left();
}

}  // namespace
}  // namespace mempool::store::testing
