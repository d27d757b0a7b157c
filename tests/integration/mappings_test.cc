// Views of files that are held, as many as there are: the system lets a process have
// vm.max_map_count mappings, and the program needs some itself.
#include <fstream>
#include <thread>
#include <vector>

#include <sys/mman.h>

#include "cluster_fixture.h"

namespace mempool::test {
namespace {

using ::testing::HasSubstr;

std::size_t mappings() {
  std::ifstream maps("/proc/self/maps");
  std::size_t lines = 0;
  for (std::string line; std::getline(maps, line);) ++lines;
  return lines;
}

/// Threads start, and memory comes: what a program with all its mappings taken cannot do.
void expect_the_program_lives() {
  bool ran = false;
  std::thread([&] { ran = true; }).join();
  EXPECT_TRUE(ran);
  void* const own = ::mmap(nullptr, kMiB, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(own, MAP_FAILED);
  ::munmap(own, kMiB);
}

class MappingsTest : public ClusterTest {
 protected:
  static constexpr std::size_t kOwn = 1000;  // that come and go with what the program does

  void SetUp() override {
    std::ifstream("/proc/sys/vm/max_map_count") >> limit_;
    if (limit_ == 0 || limit_ > 1'100'000)
      GTEST_SKIP() << "SKIPPED: so many views as this system allows take too long";
  }

  Pool private_pool(const std::string& name) const {
    PoolOptions options;
    options.max_memsize = 16 * kMiB;
    options.spill_dir = spill_directory(name);
    return must(Pool::open(options));
  }

  std::size_t limit_ = 0;
  const std::size_t before_ = mappings();
};

TEST_F(MappingsTest, HeldViewsLeaveTheProgramItsOwn) {
  Pool pools[] = {private_pool("a"), private_pool("b")};
  FileRef small[2];
  for (int i = 0; i < 2; ++i) small[i] = must(pools[i].movetodisk(set(pools[i], 1, 1)));
  const auto large = set(pools[1], 2, kMiB);
  const auto large_file = must(pools[1].movetodisk(large));

  std::vector<View> views;
  while (views.size() < limit_ / 2) {
    const auto which = views.size() % 2;
    views.push_back(must(pools[which].poolget(small[which])));
  }
  EXPECT_LT(mappings() - before_, limit_ / 4 + kOwn);
  for (const auto& view : views) ASSERT_TRUE(same(view.bytes(), pattern(1, 1)));
  expect_the_program_lives();

  // What is too large to be copied is refused with a way out, and parts of it are read.
  const auto refused = pools[1].poolget(large_file);
  EXPECT_EQ(code(refused), Code::kLimit);
  EXPECT_THAT(message(refused), HasSubstr("vm.max_map_count"));
  EXPECT_EQ(code(pools[1].poolget(large)), Code::kLimit);
  Bytes part(1000);
  must(pools[1].poolread(large, 5, part));
  const auto bytes = pattern(kMiB, 2);
  EXPECT_TRUE(same(part, std::span(bytes).subspan(5, part.size())));
  must(pools[1].prefetch(large));
  EXPECT_TRUE(holds(pools[1], large, 2));

  views.clear();
  EXPECT_LT(mappings(), before_ + kOwn);
  EXPECT_TRUE(same(must(pools[1].poolget(large_file)).bytes(), pattern(kMiB, 2)));
}

/// They take memory, of which there is an end, too.
TEST_F(MappingsTest, CopiesOfWhatIsNotMappedAreNotHeldWithoutLimit) {
  auto pool = private_pool("a");
  constexpr std::uint64_t kBytes = 60'000;
  const auto file = must(pool.movetodisk(set(pool, 1, kBytes)));
  std::vector<View> views;
  while (views.size() < limit_ / 4) views.push_back(must(pool.poolget(file)));
  const auto before = anonymous_bytes(::getpid());
  for (;;) {
    auto view = pool.poolget(file);
    if (!view) {
      EXPECT_EQ(code(view), Code::kLimit);
      EXPECT_THAT(message(view), HasSubstr("vm.max_map_count"));
      break;
    }
    views.push_back(std::move(*view));
    ASSERT_LT(views.size(), limit_ / 4 + 10'000);
  }
  EXPECT_GT(views.size(), limit_ / 4 + 500) << "some are copied";
  EXPECT_LT(anonymous_bytes(::getpid()), before + 128 * kMiB);
  EXPECT_TRUE(same(views.back().bytes(), pattern(kBytes, 1)));
  expect_the_program_lives();
  views.pop_back();
  EXPECT_EQ(code(pool.poolget(file)), Code::kOk) << "one went, another comes";
}

/// A pool that keeps its blobs mapped does so for itself: others still have their views.
TEST_F(MappingsTest, KeptOnesLeaveRoomForViewsOfOtherPools) {
  if (limit_ > 100'000) GTEST_SKIP() << "SKIPPED: it would take too many files";
  auto keeper = private_pool("a");
  auto other = private_pool("b");
  const auto large = must(other.movetodisk(set(other, 2, kMiB)));
  for (std::size_t i = 0; i < limit_ / 32 * 5; ++i) {
    const auto ref = set(keeper, 1, 1);
    must(keeper.movetodisk(ref));
    ASSERT_TRUE(holds(keeper, ref, 1));  // and stays mapped
  }
  EXPECT_LT(mappings() - before_, limit_ / 8 + kOwn);
  std::vector<View> views;
  for (int i = 0; i < 5000; ++i) views.push_back(must(other.poolget(large)));
  EXPECT_LT(mappings() - before_, limit_ / 4 + kOwn);
}

}  // namespace
}  // namespace mempool::test
