// Memory that readers in other processes look at in place: not used again while they do, whatever
// else they claim.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <ctime>
#include <mutex>
#include <thread>

#include <mempool/detail/blob_header.h>

#include "store/quarantine.h"
#include "store_fixture.h"
#include "support/eventually.h"

namespace mempool::store::testing {
namespace {

using namespace std::chrono_literals;
using test::Clock;
using test::eventually;

constexpr std::size_t kMiB = std::size_t{1} << 20;

// ---- the quarantine alone ----

class QuarantineItems : public ::testing::Test {
 protected:
  void push(std::byte& memory, std::uint64_t dead_ns) { quarantine_.push({&memory, 10, dead_ns}); }
  /// What comes back, by its place in memory_.
  std::vector<std::ptrdiff_t> drain(std::uint64_t now_ns, std::size_t at_most = 100) {
    std::vector<std::ptrdiff_t> given;
    quarantine_.drain(
        now_ns, at_most, [&](const std::byte* memory) { return memory == held_; },
        [&](const Quarantine::Item& item) { given.push_back(item.memory - memory_); });
    return given;
  }

  static constexpr std::uint64_t kEvery = Quarantine::kHeldEvery_ns;
  using Given = std::vector<std::ptrdiff_t>;
  std::byte memory_[8]{};
  const std::byte* held_ = nullptr;
  Quarantine quarantine_{25, 100};
};

TEST_F(QuarantineItems, GoBackInTheirOrderAndNotBeforeTheirTime) {
  for (std::uint64_t i = 0; i < 4; ++i) push(memory_[i], i * 10);
  EXPECT_FALSE(quarantine_.due(99));
  EXPECT_EQ(drain(99), Given{});
  EXPECT_TRUE(quarantine_.due(100));
  EXPECT_EQ(drain(110), (Given{0, 1}));
  EXPECT_EQ(quarantine_.bytes(), 20U);
  EXPECT_EQ(drain(1000, 1), Given{2});
  EXPECT_EQ(drain(1000), Given{3});
  EXPECT_TRUE(quarantine_.empty());
  EXPECT_EQ(quarantine_.bytes(), 0U);
}

TEST_F(QuarantineItems, WhatIsHeldStaysAsideAndHoldsUpNobody) {
  for (std::uint64_t i = 0; i < 3; ++i) push(memory_[i], i);
  held_ = &memory_[1];
  EXPECT_EQ(drain(1000), (Given{0, 2}));
  EXPECT_FALSE(quarantine_.empty());
  EXPECT_EQ(quarantine_.bytes(), 10U);
  held_ = nullptr;
  EXPECT_FALSE(quarantine_.due(1000 + kEvery - 1));
  EXPECT_EQ(drain(1000 + kEvery - 1), Given{}) << "not looked at every time";
  EXPECT_TRUE(quarantine_.due(1000 + kEvery)) << "readers let go without a word";
  EXPECT_EQ(drain(1000 + kEvery, 0), Given{1}) << "what was waited for long enough is not counted";
  EXPECT_TRUE(quarantine_.empty());
}

TEST_F(QuarantineItems, WhatIsHeldCountsInTheBudget) {
  for (std::uint64_t i = 0; i < 3; ++i) push(memory_[i], 0);
  EXPECT_TRUE(quarantine_.spent());
  held_ = &memory_[0];
  drain(100);
  EXPECT_FALSE(quarantine_.spent());
  EXPECT_EQ(quarantine_.bytes(), 10U);
}

TEST_F(QuarantineItems, AreWorthWaitingForUnlessReadersHoldTooMuch) {
  EXPECT_FALSE(quarantine_.worth_waiting());
  quarantine_.push({&memory_[0], 20, 0});
  EXPECT_TRUE(quarantine_.worth_waiting());
  held_ = &memory_[0];
  drain(100);
  EXPECT_FALSE(quarantine_.worth_waiting()) << "nothing is left that time gives back";
  push(memory_[1], 100);
  EXPECT_TRUE(quarantine_.spent());
  EXPECT_TRUE(quarantine_.worth_waiting());
  EXPECT_EQ(quarantine_.next_look_ns(), 200U);
  quarantine_.push({&memory_[2], 30, kEvery});
  held_ = &memory_[2];
  drain(100 + kEvery);
  EXPECT_EQ(quarantine_.bytes(), 30U) << "the third is held";
  push(memory_[3], 2 * kEvery);
  EXPECT_FALSE(quarantine_.worth_waiting());
}

// ---- a store and its remote readers ----

class Pins final : public RemotePins {
 public:
  void hold(const Place& place) {
    const std::lock_guard lock(mutex_);
    places_.push_back(place);
  }
  void let_go() {
    const std::lock_guard lock(mutex_);
    places_.clear();
  }
  int looks() const { return looks_; }

  void collect(std::vector<Place>& held) const override {
    ++looks_;
    const std::lock_guard lock(mutex_);
    held.insert(held.end(), places_.begin(), places_.end());
  }

 private:
  mutable std::mutex mutex_;
  mutable std::atomic<int> looks_{0};
  std::vector<Place> places_;
};

class RemotePinsTest : public StoreTest {
 protected:
  void open_with_readers(std::uint64_t max_memsize, std::uint32_t quarantine_ms = 1) {
    StoreOptions options;
    options.max_memsize = max_memsize;
    options.exposed = true;
    options.quarantine_ms = quarantine_ms;
    options.remote_pins = pins_;
    open(options);
  }
  Placed place(std::size_t length, std::uint64_t seed, const BlobOptions& options = {}) {
    auto placed = store_->set(pattern(length, seed), options);
    EXPECT_TRUE(placed) << placed.error().to_string();
    return placed ? *placed : Placed{};
  }
  /// Bytes that do not matter, and so cost nothing to make.
  Placed place_any(const std::vector<std::byte>& bytes) {
    auto placed = store_->set(bytes, {});
    EXPECT_TRUE(placed) << placed.error().to_string();
    return placed ? *placed : Placed{};
  }
  void hold(const Placed& placed) { pins_->hold({0, placed.hint.offset}); }
  /// What a reader in another process sees there.
  bool shows(const Placed& placed, std::size_t length, std::uint64_t seed) {
    const auto bytes =
        store_->regions()[0].bytes().subspan(placed.hint.offset + sizeof(BlobHeader), length);
    return test::same(bytes, pattern(length, seed));
  }
  std::uint64_t quarantined() { return store_->stats().quarantined_bytes; }

  std::shared_ptr<Pins> pins_ = std::make_shared<Pins>();
};

constexpr std::uint64_t kHeader = sizeof(BlobHeader);

TEST_F(RemotePinsTest, HeldMemoryIsNotUsedAgainThoughItsTimeIsOver) {
  open_with_readers(kMiB);
  const Placed a = place(kMiB, 1);
  hold(a);
  ASSERT_TRUE(store_->remove(a.object));
  // The region has room for 64 or so: all that is not held is used over and over.
  const std::vector<std::byte> others(kMiB, std::byte{0xEE});
  std::vector<std::uint64_t> used;
  int again = 0;
  for (int round = 0; round < 200; ++round) {
    const Placed b = place_any(others);
    EXPECT_TRUE(b.hint.offset + kMiB + kHeader <= a.hint.offset ||
                a.hint.offset + kMiB + kHeader <= b.hint.offset);
    again += std::ranges::find(used, b.hint.offset) != used.end() ? 1 : 0;
    used.push_back(b.hint.offset);
    ASSERT_TRUE(store_->remove(b.object));
  }
  EXPECT_GT(again, 0) << "nothing was used again: this test shows nothing";
  EXPECT_TRUE(shows(a, kMiB, 1));
  EXPECT_TRUE(eventually([&] { return quarantined() == kMiB + kHeader; }))
      << "only what is held is left, and it is counted";

  pins_->let_go();
  EXPECT_TRUE(eventually([&] { return quarantined() == 0; })) << "its time was over long ago";
  const auto reused = [&] {
    const Placed b = place_any(others);
    const bool there = b.hint.offset < a.hint.offset + kMiB && a.hint.offset < b.hint.offset + kMiB;
    return store_->remove(b.object) && there;
  };
  EXPECT_TRUE(eventually(reused));
}

TEST_F(RemotePinsTest, HeldMemoryWaitsForItsTimeAsWell) {
  open_with_readers(kMiB, 60'000);
  const Placed a = place(1000, 1);
  hold(a);
  ASSERT_TRUE(store_->remove(a.object));
  pins_->let_go();
  EXPECT_EQ(quarantined(), 1000 + kHeader) << "one-sided reads over a fabric take no slot";
}

TEST_F(RemotePinsTest, PlacesThatHoldNothingAreHarmless) {
  open_with_readers(kMiB);
  const Placed dead = place(10'000, 1);
  const Placed living = place(10'000, 2);
  const auto region = store_->regions()[0].bytes().size();
  for (const RemotePins::Place& wrong :
       {RemotePins::Place{1, 0}, RemotePins::Place{255, dead.hint.offset},
        RemotePins::Place{~0U, ~0ULL}, RemotePins::Place{0, region},
        RemotePins::Place{0, region + 64}, RemotePins::Place{0, ~0ULL},
        RemotePins::Place{0, ~0ULL - 63}, RemotePins::Place{0, dead.hint.offset + 64},
        RemotePins::Place{0, region - 64}, RemotePins::Place{0, living.hint.offset}})
    pins_->hold(wrong);
  ASSERT_TRUE(store_->remove(dead.object));
  EXPECT_TRUE(eventually([&] { return quarantined() == 0; }));
  EXPECT_TRUE(holds(living.object, 10'000, 2));
  for (std::uint64_t i = 0; i < 300; ++i) place(10'000, i);  // with evictions
  EXPECT_TRUE(shows(living, 10'000, 2));
}

TEST_F(RemotePinsTest, C76_HeldBlobsAreNotEvicted) {
  open_with_readers(300);
  const Placed a = place(100, 1);
  const Placed b = place(100, 2);
  const Placed c = place(100, 3);
  hold(a);
  EXPECT_EQ(store_->plan_eviction(150), (Objects{b.object, c.object}));
  const Placed d = place(100, 4);
  EXPECT_TRUE(in_memory(a.object));
  EXPECT_FALSE(in_memory(b.object));
  EXPECT_TRUE(in_memory(c.object));
  pins_->let_go();
  place(100, 5);
  EXPECT_FALSE(in_memory(a.object));
  EXPECT_TRUE(in_memory(d.object));
}

TEST_F(RemotePinsTest, WithEverythingHeldASetGoesToDiskAtOnce) {
  open_with_readers(300);
  for (std::uint64_t i = 0; i < 3; ++i) hold(place(100, i));
  const auto begin = Clock::now();
  const Placed d = place(100, 4);
  EXPECT_EQ(d.hint.generation, 0U);
  EXPECT_TRUE(holds(d.object, 100, 4));
  EXPECT_LT(Clock::now() - begin, 10s) << "the deadline is 30 s";
}

TEST_F(RemotePinsTest, DeletedWhileHeldIsNotFoundAndShownStill) {
  open_with_readers(kMiB);
  const Placed a = place(1000, 1);
  hold(a);
  ASSERT_TRUE(store_->remove(a.object));
  EXPECT_EQ(code_of_get(a.object), Code::kNotFound);
  EXPECT_TRUE(shows(a, 1000, 1));
  EXPECT_EQ(store_->stats().payload_bytes, 0U);
}

std::chrono::nanoseconds processor_time_here() {
  timespec used{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
  return std::chrono::seconds(used.tv_sec) + std::chrono::nanoseconds(used.tv_nsec);
}

TEST_F(RemotePinsTest, WhoWaitsBesideReadersDoesNotSpin) {
  open_with_readers(64 * kMiB, 500);  // the budget is 64 MiB
  const Placed a = place_any(std::vector<std::byte>(30 * kMiB));
  hold(a);
  ASSERT_TRUE(store_->remove(a.object));
  const Placed b = place_any(std::vector<std::byte>(40 * kMiB));
  ASSERT_TRUE(store_->remove(b.object));
  const auto bytes = pattern(1000, 2);
  const int looks = pins_->looks();
  const auto used = processor_time_here();
  const auto c = store_->set(bytes, {});
  EXPECT_LT(processor_time_here() - used, 150ms);
  EXPECT_LT(pins_->looks() - looks, 100) << "every 10 ms is enough";
  ASSERT_TRUE(c);
  EXPECT_NE(c->hint.generation, 0U) << "it went to disk";
  EXPECT_EQ(quarantined(), 30 * kMiB + kHeader);
}

TEST_F(RemotePinsTest, ReadersAreNotLookedAtForEverySet) {
  open_with_readers(kMiB, 15);
  const Placed a = place(1000, 1);
  hold(a);
  ASSERT_TRUE(store_->remove(a.object));
  ASSERT_TRUE(eventually([&] { return quarantined() != 0 && pins_->looks() != 0; }));
  const int looks = pins_->looks();
  const auto begin = Clock::now();
  for (std::uint64_t i = 0; i < 1000; ++i) ASSERT_TRUE(store_->remove(place(10, i).object));
  EXPECT_LE(pins_->looks() - looks, (Clock::now() - begin) / 10ms + 1) << "every 10 ms is enough";
}

TEST_F(RemotePinsTest, WithMoreHeldThanTheBudgetSetsGoToDiskAtOnce) {
  open_with_readers(64 * kMiB);  // the budget is 64 MiB
  const Placed a = place_any(std::vector<std::byte>(64 * kMiB));
  hold(a);
  ASSERT_TRUE(store_->remove(a.object));  // 64 bytes over the budget
  const auto begin = Clock::now();
  const Placed b = place(10, 1);
  EXPECT_EQ(b.hint.generation, 0U);
  EXPECT_EQ(store_->load(b.object).error().code, Code::kNoSpace);
  EXPECT_TRUE(holds(b.object, 10, 1));
  EXPECT_LT(Clock::now() - begin, 15s) << "the deadline is 30 s";
  pins_->let_go();
  EXPECT_TRUE(eventually([&] { return place(10, 2).hint.generation != 0; }));
}

TEST_F(RemotePinsTest, WithMoreHeldThanTheBudgetAndNoDiskSetsFailAtOnce) {
  StoreOptions options;
  options.max_memsize = 64 * kMiB;
  options.exposed = true;
  options.quarantine_ms = 1;
  options.remote_pins = pins_;
  open(options, false);
  const Placed a = place_any(std::vector<std::byte>(64 * kMiB));
  hold(a);
  ASSERT_TRUE(store_->remove(a.object));
  const auto begin = Clock::now();
  EXPECT_EQ(code_of_set(10), Code::kNoSpace);
  EXPECT_LT(Clock::now() - begin, 15s) << "the deadline is 30 s";
}

}  // namespace
}  // namespace mempool::store::testing
