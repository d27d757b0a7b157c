// Set, get and delete on a pool of this process; its life, its limits of use, and forks.
#include <atomic>
#include <set>
#include <thread>

#include "pool_fixture.h"

namespace mempool::test {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

TEST_F(PoolTest, C1_WhatIsSetReadsBackEqual) {
  auto pool = must(Pool::open(options()));
  std::uint64_t seed = 1;
  for (std::uint64_t size :
       std::initializer_list<std::uint64_t>{0, 1, 63, 64, 65, 4095, 4096, kMiB + 7}) {
    const auto ref = set(pool, seed, size);
    EXPECT_EQ(ref.length, size);
    EXPECT_TRUE(holds(pool, ref, seed)) << size << " bytes";
    Bytes part(size / 2);
    must(pool.poolread(ref, size - part.size(), part));
    const Bytes whole = pattern(size, seed);
    EXPECT_TRUE(same(part, std::span(whole).last(part.size())));
    ++seed;
  }
}

TEST_F(PoolTest, C4_LocalGetShowsTheBytesInPlace) {
  auto pool = must(Pool::open(options()));
  const auto ref = set(pool, 1);
  const auto first = must(pool.poolget(ref));
  const auto second = must(pool.poolget(ref));
  EXPECT_EQ(first.path(), Path::kInProcess);
  EXPECT_EQ(first.data(), second.data());
  EXPECT_EQ(gets_by(pool, "in process"), 2U);
  EXPECT_EQ(must(pool.inspect(ref)).path, "in process");
}

TEST_F(PoolTest, C5_TextOfAReferenceReadsTheSameBlob) {
  auto pool = must(Pool::open(options()));
  const auto ref = set(pool, 5);
  EXPECT_TRUE(holds(pool, must(DRef::parse(ref.to_string())), 5));
}

TEST_F(PoolTest, C7_UnknownAndDeletedAreNotFound) {
  auto pool = must(Pool::open(options()));
  const auto deleted = set(pool, 1);
  must(pool.pooldelete(deleted));
  DRef unknown = deleted;
  unknown.id.object += 12345;
  std::vector<std::string> reasons;
  for (const auto& ref : {deleted, unknown}) {
    Bytes out(1);
    EXPECT_EQ(code(pool.poolget(ref)), Code::kNotFound);
    EXPECT_EQ(code(pool.poolread(ref, 0, out)), Code::kNotFound);
    EXPECT_EQ(code(pool.pooldelete(ref)), Code::kNotFound);
    EXPECT_EQ(code(pool.inspect(ref)), Code::kNotFound);
    EXPECT_EQ(code(pool.movetodisk(ref)), Code::kNotFound);
    EXPECT_EQ(code(pool.copytodisk(ref)), Code::kNotFound);
    EXPECT_EQ(code(pool.prefetch(ref)), Code::kNotFound);
    EXPECT_EQ(code(pool.savetodisk(ref, directory_ / "saved")), Code::kNotFound);
  }
  EXPECT_FALSE(fs::exists(directory_ / "saved"));
}

TEST_F(PoolTest, C9_SetThatFailsLeavesNothing) {
  auto limits = options(kMiB);
  limits.max_disksize = kMiB;
  auto pool = must(Pool::open(limits));
  EXPECT_EQ(code(pool.poolset(pattern(2 * kMiB))), Code::kNoSpace);
  const auto stats = store_stats(pool);
  EXPECT_EQ(stats.blobs, 0U);
  EXPECT_EQ(stats.payload_bytes, 0U);
  EXPECT_EQ(stats.disk_bytes, 0U);
  EXPECT_THAT(blob_files(), IsEmpty());
  EXPECT_THAT(temporary_files(), IsEmpty());
}

TEST_F(PoolTest, C10_IdsAreNeverUsedAgain) {
  auto pool = must(Pool::open(options()));
  std::set<std::uint64_t> seen;
  for (std::uint64_t i = 0; i < 1000; ++i) {
    const auto ref = set(pool, i, 8);
    EXPECT_TRUE(seen.insert(ref.id.object).second) << "object " << ref.id.object << " again";
    must(pool.pooldelete(ref));
  }
}

TEST_F(PoolTest, C10_EarlierLifeOfANodeIsStale) {
  auto node = options();
  node.listen = "127.0.0.1:" + std::to_string(fixed_port());
  DRef ref;
  {
    auto pool = must(Pool::open(node));
    ref = set(pool, 1);
    EXPECT_TRUE(holds(pool, ref, 1));
  }
  auto again = must(Pool::open(node));
  // The new life's blob may lie at the same place under the same number.
  const auto fresh = set(again, 2);
  EXPECT_EQ(fresh.id.node, ref.id.node);
  EXPECT_EQ(code(again.poolget(ref)), Code::kStaleReference);
  EXPECT_EQ(code(again.pooldelete(ref)), Code::kStaleReference);
  EXPECT_TRUE(holds(again, fresh, 2));
}

TEST_F(PoolTest, ReferenceOfAnotherPoolIsRefused) {
  auto pool = must(Pool::open(options()));
  auto other_options = options();
  other_options.cluster = "another";
  auto other = must(Pool::open(other_options));
  auto neighbour = must(Pool::open(options()));
  set(pool, 1);
  EXPECT_EQ(code(pool.poolget(set(other, 2))), Code::kWrongCluster);
  EXPECT_EQ(code(pool.poolget(set(neighbour, 3))), Code::kNotFound);
}

TEST_F(PoolTest, ForgedHintsAndLengthsNeverShowOtherBytes) {
  auto pool = must(Pool::open(options()));
  const auto ref = set(pool, 1, 1000);
  set(pool, 2, 1000);
  for (LocationHint hint : {LocationHint{0, 0, 1}, LocationHint{9, ~0ULL, ~0ULL},
                            LocationHint{0, ref.hint.offset + 64, ref.hint.generation}}) {
    DRef forged = ref;
    forged.hint = hint;
    EXPECT_TRUE(holds(pool, forged, 1));
  }
  for (std::uint64_t length : {0ULL, 999ULL, 1001ULL, ~0ULL}) {
    DRef forged = ref;
    forged.length = length;
    const auto view = pool.poolget(forged);
    EXPECT_TRUE(!view || same(view->bytes(), pattern(1000, 1))) << length;
    Bytes out(1000);
    const auto read = pool.poolread(forged, 0, out);
    EXPECT_TRUE(!read || same(out, pattern(1000, 1))) << length;
  }
}

TEST_F(PoolTest, RangesOutsideTheBlobAreRefused) {
  auto pool = must(Pool::open(options()));
  const auto ref = set(pool, 1, 100);
  Bytes out(10);
  must(pool.poolread(ref, 90, out));
  must(pool.poolread(ref, 100, std::span(out).first(0)));
  for (std::uint64_t offset : {91ULL, 100ULL, 101ULL, ~0ULL, ~0ULL - 5})
    EXPECT_EQ(code(pool.poolread(ref, offset, out)), Code::kInvalidArgument) << offset;
}

TEST_F(PoolTest, C61_ZeroLimitAndUnknownPolicyAreRefused) {
  const auto no_memory = Pool::open(options(0));
  EXPECT_EQ(code(no_memory), Code::kInvalidArgument);
  EXPECT_THAT(message(no_memory), HasSubstr("max_memsize"));
  auto strange = options();
  strange.policy = static_cast<Policy>(7);
  const auto no_policy = Pool::open(strange);
  EXPECT_EQ(code(no_policy), Code::kInvalidArgument);
  EXPECT_THAT(message(no_policy), HasSubstr("policy"));
  EXPECT_FALSE(fs::exists(spill_directory()));
}

TEST_F(PoolTest, OptionsThatCannotWorkAreRefused) {
  const auto refused = [&](auto change, Code expected) {
    auto wrong = options();
    change(wrong);
    const auto opened = Pool::open(wrong);
    EXPECT_EQ(code(opened), expected) << message(opened);
    EXPECT_GT(message(opened).size(), 20U);
  };
  refused([](auto& o) { o.max_memsize = ~0ULL; }, Code::kInvalidArgument);
  refused([](auto& o) { o.quarantine_ms = o.read_window_ms; }, Code::kInvalidArgument);
  refused([](auto& o) { o.join = {"127.0.0.1:1"}; }, Code::kInvalidArgument);
  refused([](auto& o) { o.listen = "127.0.0.1"; }, Code::kInvalidArgument);
  refused([](auto& o) { o.listen = "127.0.0.1:70000"; }, Code::kInvalidArgument);
  refused([](auto& o) { o.listen = "0.0.0.0:0"; }, Code::kInvalidArgument);
  refused([](auto& o) { o.listen = "192.0.2.1:0"; }, Code::kPermissionDenied);
  refused([](auto& o) { o.listen = "127.0.0.1:0", o.join = {"nowhere"}; }, Code::kInvalidArgument);
  refused([](auto& o) { o.listen = "127.0.0.1:0", o.providers = {"carrier-pigeon"}; },
          Code::kNoProvider);
  refused(
      [](auto& o) { o.listen = "127.0.0.1:0", o.require_rdma = true, o.providers = {"sockets"}; },
      Code::kNoProvider);
}

/// The listener is bound, the store stands, and then no provider opens.
TEST_F(PoolTest, NodeWhoseProviderDoesNotOpenEndsCleanly) {
  auto node = options();
  node.listen = "[::1]:0";
  node.providers = {"shm"};
  // Where shm works all the same, the node has to as well.
  auto pool = Pool::open(node);
  EXPECT_TRUE(!pool || holds(*pool, set(*pool, 1), 1));
  EXPECT_THAT(blob_files(), IsEmpty());
}

TEST_F(PoolTest, PrivatePoolReachesNoOtherNode) {
  auto pool = must(Pool::open(options()));
  EXPECT_EQ(code(pool.poolset({}, {.node = 99})), Code::kUnavailable);
  EXPECT_EQ(code(pool.stats(99)), Code::kUnavailable);
  EXPECT_EQ(must(pool.nodes()).size(), 1U);
  EXPECT_TRUE(pool.self().address.empty());
}

TEST_F(PoolTest, SetOptionsAreKept) {
  auto pool = must(Pool::open(options()));
  const auto ref =
      set(pool, 1, 10, {.type_name = "Vector{Int}", .drop_on_evict = true, .retain = true});
  const auto info = must(pool.inspect(ref));
  EXPECT_EQ(info.type_name, "Vector{Int}");
  EXPECT_TRUE(info.drop_on_evict);
  EXPECT_TRUE(info.retain);
  EXPECT_EQ(info.ref.length, 10U);
}

TEST_F(PoolTest, MovedPoolGoesOn) {
  auto pool = must(Pool::open(options()));
  const auto ref = set(pool, 1);
  auto moved = std::move(pool);
  EXPECT_TRUE(holds(moved, ref, 1));
  moved = must(Pool::open(options()));
  EXPECT_EQ(code(moved.poolget(ref)), Code::kNotFound);
}

TEST_F(PoolTest, ForkedChildIsToldAndEndsCleanly) {
  auto node = options();
  node.listen = "127.0.0.1:0";
  for (const auto& how : {options(), node}) {
    auto pool = std::make_unique<Pool>(must(Pool::open(how)));
    const auto ref = set(*pool, 1);
    const auto file = must(pool->copytodisk(ref));
    must(pool->poolget(ref));
    auto pending = pool->poolget_async(ref);
    EXPECT_TRUE(in_child([&] {
      EXPECT_TRUE(pool->local_stats().gets_by_path.empty());
      EXPECT_EQ(code(pending.wait()), Code::kForked);
      Bytes out(1);
      EXPECT_EQ(code(pool->poolset(out)), Code::kForked);
      EXPECT_EQ(code(pool->poolget(ref)), Code::kForked);
      EXPECT_EQ(code(pool->poolget(file)), Code::kForked);
      EXPECT_EQ(code(pool->poolread(ref, 0, out)), Code::kForked);
      EXPECT_EQ(code(pool->pooldelete(ref)), Code::kForked);
      EXPECT_EQ(code(pool->movetodisk(ref)), Code::kForked);
      EXPECT_EQ(code(pool->copytodisk(ref)), Code::kForked);
      EXPECT_EQ(code(pool->savetodisk(ref, directory_ / "x")), Code::kForked);
      EXPECT_EQ(code(pool->adopt(file)), Code::kForked);
      EXPECT_EQ(code(pool->prefetch(ref)), Code::kForked);
      EXPECT_EQ(code(pool->inspect(ref)), Code::kForked);
      EXPECT_EQ(code(pool->nodes()), Code::kForked);
      EXPECT_EQ(code(pool->stats()), Code::kForked);
      pool.reset();
    }));
    // The parent's threads, files and blobs are untouched.
    EXPECT_TRUE(same(must(pending.wait()).bytes(), pattern(kMiB, 1)));
    EXPECT_TRUE(holds(*pool, ref, 1));
    EXPECT_TRUE(fs::exists(file.path));
    must(pool->pooldelete(ref));
  }
}

TEST_F(PoolTest, C91_CleanExitRemovesTheSessionAndKeepsWhatShouldStay) {
  FileRef retained;
  FileRef saved;
  {
    auto pool = must(Pool::open(options()));
    must(pool.movetodisk(set(pool, 1)));
    retained = must(pool.movetodisk(set(pool, 2, kMiB, {.retain = true})));
    saved = must(pool.savetodisk(set(pool, 3), directory_ / "saved.blob"));
    EXPECT_EQ(blob_files().size(), 2U);
  }
  EXPECT_THAT(blob_files(), ElementsAre(fs::path(retained.path)));
  EXPECT_TRUE(fs::exists(saved.path));
  auto later = must(Pool::open(options()));
  EXPECT_TRUE(same(must(later.poolget(retained)).bytes(), pattern(kMiB, 2)));
  EXPECT_TRUE(same(must(later.poolget(saved)).bytes(), pattern(kMiB, 3)));
}

TEST_F(PoolTest, C91_CrashedSessionIsSweptByTheNextStart) {
  // The child leaves without destructors, as a crash does.
  ASSERT_TRUE(in_child([&] {
    auto pool = must(Pool::open(options()));
    must(pool.movetodisk(set(pool, 1)));
    must(pool.movetodisk(set(pool, 2, kMiB, {.retain = true})));
    ::_exit(0);
  }));
  ASSERT_EQ(blob_files().size(), 2U);
  auto pool = must(Pool::open(options()));
  ASSERT_EQ(blob_files().size(), 1U);
  EXPECT_EQ(blob_files().front().parent_path().filename(), "retained");
}

TEST_F(PoolTest, ManyThreadsSetGetAndDelete) {
  auto pool = must(Pool::open(options(4 * kMiB)));
  constexpr std::uint64_t kThreads = 8;
  constexpr std::uint64_t kRounds = kSanitized ? 60 : 200;
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (std::uint64_t t = 0; t < kThreads; ++t)
    threads.emplace_back([&, t] {
      std::vector<std::pair<DRef, std::uint64_t>> mine;
      for (std::uint64_t i = 0; i < kRounds; ++i) {
        const auto seed = t * 1'000'000 + i;
        const auto size = pattern_word(seed, 0) % (300 * 1024);
        auto ref = pool.poolset(pattern(size, seed));
        if (!ref) {
          ++wrong;
          continue;
        }
        mine.emplace_back(*ref, seed);
        const auto& [old, old_seed] = mine[pattern_word(seed, 1) % mine.size()];
        auto view = pool.poolget(old);
        if (!view || !same(view->bytes(), pattern(old.length, old_seed))) ++wrong;
        if (mine.size() > 8) {
          if (!pool.pooldelete(mine.front().first)) ++wrong;
          mine.erase(mine.begin());
        }
      }
      for (const auto& [ref, seed] : mine)
        if (!pool.pooldelete(ref)) ++wrong;
    });
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
  const auto stats = store_stats(pool);
  EXPECT_EQ(stats.blobs, 0U);
  EXPECT_EQ(stats.payload_bytes, 0U);
  EXPECT_EQ(stats.disk_bytes, 0U);
  EXPECT_EQ(stats.pinned_blobs, 0U);
  EXPECT_THAT(blob_files(), IsEmpty());
}

}  // namespace
}  // namespace mempool::test
