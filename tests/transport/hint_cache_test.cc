// What was learnt of blobs that moved: found again, bounded, and never another blob's.
#include "transport/hint_cache.h"

#include <atomic>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

namespace mempool::transport {
namespace {

bool same(const LocationHint& a, const LocationHint& b) {
  return a.region == b.region && a.offset == b.offset && a.generation == b.generation;
}

constexpr LocationHint kOld{0, 64, 1};

LocationHint learnt_of(std::uint64_t object) {
  return {1, object * 64, object + 1000};
}

TEST(HintCache, SaysWhatTheReferenceSaysUntilItLearns) {
  HintCache cache;
  EXPECT_TRUE(same(cache.newer_than(kOld, 7), kOld));
  cache.learn(7, learnt_of(7));
  EXPECT_TRUE(same(cache.newer_than(kOld, 7), learnt_of(7)));
  EXPECT_TRUE(same(cache.newer_than(kOld, 8), kOld));
  cache.learn(7, learnt_of(9));
  EXPECT_TRUE(same(cache.newer_than(kOld, 7), learnt_of(9))) << "the last that was learnt counts";
}

/// Ids as owners give them: a slot, and how often it was used.
TEST(HintCache, KeepsWhatWasLearntLastAndNothingOfOthers) {
  HintCache cache;
  constexpr std::uint64_t kObjects = 4 * HintCache::kEntries;
  const auto object = [](std::uint64_t number) { return (std::uint64_t{1} << 32) + number; };
  for (std::uint64_t i = 0; i < kObjects; ++i) {
    cache.learn(object(i), learnt_of(i));
    ASSERT_TRUE(same(cache.newer_than(kOld, object(i)), learnt_of(i)));
  }
  std::uint64_t kept = 0;
  for (std::uint64_t i = 0; i < kObjects; ++i) {
    const auto hint = cache.newer_than(kOld, object(i));
    if (same(hint, kOld)) continue;
    ASSERT_TRUE(same(hint, learnt_of(i))) << "two blobs share a place: one of them is forgotten";
    ++kept;
  }
  EXPECT_LE(kept, HintCache::kEntries);
  EXPECT_GE(kept, HintCache::kEntries / 2) << "ids that follow one another fill the table";
}

TEST(HintCache, ManyThreadsSeeWholeEntries) {
  HintCache cache;
  std::atomic<bool> stop{false};
  std::vector<std::thread> threads;
  for (std::uint64_t t = 0; t < 2; ++t)
    threads.emplace_back([&, t] {
      for (std::uint64_t i = t; !stop; i += 2) cache.learn(i % 3 + 1, learnt_of(i % 3 + 1));
    });
  for (int i = 0; i < 20'000; ++i) {
    const std::uint64_t object = i % 3 + 1;
    const auto hint = cache.newer_than(kOld, object);
    EXPECT_TRUE(same(hint, kOld) || same(hint, learnt_of(object)));
  }
  stop = true;
  for (auto& thread : threads) thread.join();
}

}  // namespace
}  // namespace mempool::transport
