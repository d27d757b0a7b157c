// Pools that cannot spill: without a spill directory, or with one that is of no use.
#include "pool_fixture.h"

namespace mempool::test {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class NoDiskTest : public PoolTest {
 protected:
  PoolOptions without_disk(std::uint64_t max_memsize = 2 * kMiB) const {
    auto none = options(max_memsize);
    none.spill_dir.clear();
    return none;
  }
};

TEST_F(NoDiskTest, NoFolderIsMadeForWhatFitsAndOursGoesWithUs) {
  {
    auto pool = must(Pool::open(options(2 * kMiB)));
    const auto a = set(pool, 1), b = set(pool, 2);
    EXPECT_FALSE(fs::exists(spill_directory()));
    set(pool, 3);
    EXPECT_THAT(where_are(pool, {a, b}), ElementsAre("disk", "memory"));
  }
  EXPECT_FALSE(fs::exists(spill_directory()));
}

TEST_F(NoDiskTest, AFolderThatCannotBeMadeMattersWhenItIsNeeded) {
  fs::permissions(directory_.path(), fs::perms(0555));
  EXPECT_TRUE(in_child([&] {
    become_nobody();
    fs::current_path(directory_.path());
    auto node = PoolOptions{.max_memsize = 2 * kMiB};
    for (const char* listen : {"", "127.0.0.1:0"}) {
      node.listen = listen;
      auto pool = must(Pool::open(node));
      const auto a = set(pool, 1), b = set(pool, 2);
      const auto refused = pool.poolset(pattern(kMiB, 3));
      EXPECT_EQ(code(refused), Code::kPermissionDenied) << message(refused);
      EXPECT_THAT(message(refused), AllOf(HasSubstr((directory_ / ".mempool").native()),
                                          HasSubstr("Permission denied")));
      EXPECT_EQ(code(pool.copytodisk(a)), Code::kPermissionDenied);
      EXPECT_THAT(where_are(pool, {a, b}), ElementsAre("memory", "memory"));
      EXPECT_TRUE(holds(pool, a, 1) && holds(pool, b, 2));
      EXPECT_EQ(store_stats(pool).disk_bytes, 0U);
    }
  }));
  fs::permissions(directory_.path(), fs::perms(0755));
}

TEST_F(NoDiskTest, WithoutADirectoryOnlyWhatMayBeDiscardedGoes) {
  auto pool = must(Pool::open(without_disk()));
  const auto kept = set(pool, 1);
  const auto dropped = set(pool, 2, kMiB, {.drop_on_evict = true});
  const auto next = set(pool, 3);
  EXPECT_THAT(where_are(pool, {kept, dropped, next}), ElementsAre("memory", "NotFound", "memory"));
  const auto refused = pool.poolset(pattern(kMiB, 4));
  EXPECT_EQ(code(refused), Code::kNoSpace);
  EXPECT_THAT(message(refused),
              AllOf(HasSubstr("there is no spill directory"), HasSubstr("drop_on_evict"),
                    HasSubstr("max_memsize is 2097152"), HasSubstr("spill_dir")));
  EXPECT_EQ(code(pool.poolset(pattern(3 * kMiB, 4))), Code::kNoSpace);
  EXPECT_TRUE(holds(pool, kept, 1) && holds(pool, next, 3));
  must(pool.pooldelete(kept));
  EXPECT_TRUE(holds(pool, set(pool, 5), 5));
}

TEST_F(NoDiskTest, WithoutADirectoryFilesOfTheCallersOwnWork) {
  auto pool = must(Pool::open(without_disk()));
  const auto ref = set(pool, 1, kMiB, {.type_name = "T"});
  for (const auto& refused : {pool.movetodisk(ref), pool.copytodisk(ref)}) {
    EXPECT_EQ(code(refused), Code::kUnsupported);
    EXPECT_THAT(message(refused),
                AllOf(HasSubstr("there is no spill directory"), HasSubstr("savetodisk")));
  }
  const auto file = must(pool.savetodisk(ref, directory_ / "saved"));
  must(pool.pooldelete(ref));
  const auto adopted = must(pool.adopt(file));
  EXPECT_EQ(where(pool, adopted), "disk");
  EXPECT_TRUE(holds(pool, adopted, 1));
  must(pool.prefetch(adopted));
  EXPECT_EQ(where(pool, adopted), "both");
  const auto a = set(pool, 2), b = set(pool, 3);
  EXPECT_THAT(where_are(pool, {adopted, a, b}), ElementsAre("disk", "memory", "memory"))
      << "it has a file to come back from";
  EXPECT_TRUE(holds(pool, adopted, 1)) << "shown from its file";
  EXPECT_EQ(store_stats(pool).disk_bytes, 0U);
}

TEST_F(NoDiskTest, AllBlobsOfAPoolMayBeDiscarded) {
  for (const bool disk : {true, false}) {
    auto all = disk ? options(2 * kMiB) : without_disk();
    all.drop_on_evict = true;
    auto pool = must(Pool::open(all));
    const auto first = set(pool, 1);
    EXPECT_TRUE(must(pool.inspect(first)).drop_on_evict);
    for (std::uint64_t seed = 2; seed < 8; ++seed) set(pool, seed);
    EXPECT_EQ(where(pool, first), "NotFound");
    EXPECT_EQ(store_stats(pool).blobs, 2U);
    EXPECT_FALSE(fs::exists(spill_directory()));
  }
}

}  // namespace
}  // namespace mempool::test
