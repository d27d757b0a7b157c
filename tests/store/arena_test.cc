// Both kinds of arena, by the same tests.
#include "store/arena.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <random>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "store/region.h"

namespace mempool::store {
namespace {

constexpr std::size_t kMebibyte = 1 << 20;

class ArenaTest : public ::testing::TestWithParam<const char*> {
 protected:
  void open(std::size_t bytes) {
    auto region = Region::create(bytes);
    ASSERT_TRUE(region) << region.error().to_string();
    arena_.reset();
    region_ = std::make_unique<Region>(std::move(*region));
    if (GetParam() == std::string_view("plain")) {
      arena_ = make_plain_arena(region_->bytes());
      return;
    }
    auto arena = make_arena(region_->bytes());
    ASSERT_TRUE(arena) << arena.error().to_string();
    arena_ = std::move(*arena);
  }

  bool inside(const std::byte* memory, std::size_t bytes) const {
    const auto all = region_->bytes();
    return memory >= all.data() && memory + bytes <= all.data() + all.size();
  }

  std::vector<std::byte*> fill(std::size_t bytes) {
    std::vector<std::byte*> all;
    bool all_inside = true;
    std::uintptr_t low_bits = 0;
    while (std::byte* memory = arena_->allocate(bytes)) {
      all_inside = all_inside && inside(memory, bytes);
      low_bits |= reinterpret_cast<std::uintptr_t>(memory) % 64;
      all.push_back(memory);
    }
    EXPECT_TRUE(all_inside);
    EXPECT_EQ(low_bits, 0U);
    return all;
  }

  void free_all(const std::vector<std::byte*>& all, std::size_t bytes) {
    for (std::byte* memory : all) arena_->deallocate(memory, bytes);
  }

  std::unique_ptr<Region> region_;
  std::unique_ptr<Arena> arena_;
};

TEST_P(ArenaTest, FillFreeRefillWithOtherSizes) {
  constexpr std::size_t kBytes = 64 * kMebibyte;
  open(kBytes);
  const std::size_t sizes[] = {8 * kMebibyte, 64,  100,    4096 + 64,    1 * kMebibyte + 64,
                               300'000,       128, 20'000, 8 * kMebibyte};
  std::size_t first = 0;
  for (const std::size_t size : sizes) {
    const auto all = fill(size);
    const double used = static_cast<double>(all.size() * size) / kBytes;
    EXPECT_GT(used, 0.6) << size;
    if (size == sizes[0] && first == 0) first = all.size();
    if (size == sizes[0]) {
      EXPECT_EQ(all.size(), first);
    }
    free_all(all, size);
  }
}

// Round sizes and others: the store's largest request is two thirds of a region.
TEST_P(ArenaTest, AnEmptyRegionTakesTheLargestRequest) {
  for (const std::size_t mebibytes : {8, 10, 56, 64, 112, 1792}) {
    const std::size_t bytes = mebibytes * kMebibyte;
    open(bytes);
    const std::size_t largest = bytes / 3 * 2;
    for (int round = 0; round < 3; ++round) {
      std::byte* memory = arena_->allocate(largest);
      ASSERT_NE(memory, nullptr) << mebibytes << " MiB, round " << round;
      EXPECT_TRUE(inside(memory, largest));
      arena_->deallocate(memory, largest);
      const auto small = fill(kMebibyte / 2 + 64);
      free_all(small, kMebibyte / 2 + 64);
    }
    EXPECT_EQ(arena_->allocate(bytes + 1), nullptr);
  }
}

TEST_P(ArenaTest, ChurnAgainstAReference) {
  open(16 * kMebibyte);
  struct Held {
    std::byte* memory;
    std::size_t bytes;
    std::byte mark;
  };
  std::mt19937_64 random(7);
  std::vector<Held> held;
  std::map<std::byte*, std::size_t> taken;  // must never overlap
  for (int step = 0; step < 20'000; ++step) {
    const std::size_t bytes = std::size_t{1} << (random() % 18);
    std::byte* memory = random() % 3 != 0 ? arena_->allocate(bytes) : nullptr;
    if (memory != nullptr) {
      ASSERT_TRUE(inside(memory, bytes));
      const auto after = taken.lower_bound(memory);
      if (after != taken.end()) {
        ASSERT_LE(memory + bytes, after->first);
      }
      if (after != taken.begin()) {
        const auto before = std::prev(after);
        ASSERT_LE(before->first + before->second, memory);
      }
      taken.emplace(memory, bytes);
      held.push_back({memory, bytes, static_cast<std::byte>(step)});
      std::memset(memory, step & 0xFF, bytes);
      continue;
    }
    if (held.empty()) continue;
    std::swap(held[random() % held.size()], held.back());
    const Held last = held.back();
    held.pop_back();
    ASSERT_EQ(std::count(last.memory, last.memory + last.bytes, last.mark),
              static_cast<std::ptrdiff_t>(last.bytes));
    taken.erase(last.memory);
    arena_->deallocate(last.memory, last.bytes);
  }
  for (const Held& one : held) arena_->deallocate(one.memory, one.bytes);
  EXPECT_NE(arena_->allocate(10 * kMebibyte), nullptr);
}

TEST_P(ArenaTest, ThreadsDoNotGetTheSameMemory) {
  open(16 * kMebibyte);
  std::vector<std::thread> threads;
  for (unsigned thread = 0; thread < 4; ++thread) {
    threads.emplace_back([this, thread] {
      std::mt19937_64 random(thread);
      for (int i = 0; i < 2'000; ++i) {
        const std::size_t bytes = 64 + random() % 20'000;
        std::byte* memory = arena_->allocate(bytes);
        ASSERT_NE(memory, nullptr);
        std::memset(memory, static_cast<int>(thread), bytes);
        const auto same = std::count(memory, memory + bytes, static_cast<std::byte>(thread));
        ASSERT_EQ(same, static_cast<std::ptrdiff_t>(bytes));
        arena_->deallocate(memory, bytes);
      }
    });
  }
  for (auto& thread : threads) thread.join();
}

TEST_P(ArenaTest, ManyArenasComeAndGo) {
  for (int i = 0; i < 100; ++i) {
    open(8 * kMebibyte);
    std::byte* memory = arena_->allocate(5 * kMebibyte);
    ASSERT_NE(memory, nullptr);
    memory[0] = std::byte{1};
    if (i % 2 == 0) arena_->deallocate(memory, 5 * kMebibyte);  // or leave it taken
  }
}

TEST_P(ArenaTest, NothingOfTheAllocatorsLiesInTheRegion) {
  open(8 * kMebibyte);
  const auto all = fill(1000);
  free_all(all, 1000);
  const auto bytes = region_->bytes();
  const auto zeros = std::count(bytes.begin(), bytes.end(), std::byte{0});
  EXPECT_EQ(zeros, static_cast<std::ptrdiff_t>(bytes.size()));
}

TEST_P(ArenaTest, RoundedIsNoLessThanAsked) {
  open(8 * kMebibyte);
  for (const std::size_t bytes : {0UL, 1UL, 64UL, 65UL, 4160UL, 1048640UL})
    EXPECT_GE(arena_->rounded(bytes), bytes);
  std::byte* memory = arena_->allocate(0);
  EXPECT_NE(memory, nullptr);
  arena_->deallocate(memory, 0);
}

INSTANTIATE_TEST_SUITE_P(Kinds, ArenaTest, ::testing::Values("built", "plain"));

}  // namespace
}  // namespace mempool::store
