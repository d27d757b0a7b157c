// Sleeping on a descriptor that tells the truth, and on one that says "readable" for ever.
#include "transport/readiness.h"

#include <atomic>
#include <chrono>
#include <ctime>
#include <thread>

#include <gtest/gtest.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

#include "support/eventually.h"
#include "support/results.h"

namespace mempool::transport {
namespace {

using namespace std::chrono_literals;
using test::Clock;
using test::must;

/// What this thread used of a processor.
std::chrono::nanoseconds used_here() {
  timespec used{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
  return std::chrono::seconds(used.tv_sec) + std::chrono::nanoseconds(used.tv_nsec);
}

/// How often this thread went to sleep: not how often others took the processor away from it.
long sleeps_here() {
  rusage usage{};
  ::getrusage(RUSAGE_THREAD, &usage);
  return usage.ru_nvcsw;
}

class ReadinessTest : public ::testing::Test {
 protected:
  void SetUp() override { must(readiness_.open(descriptor_)); }
  ~ReadinessTest() override { ::close(descriptor_); }

  void make_readable() const { ::eventfd_write(descriptor_, 1); }
  void make_quiet() const {
    eventfd_t value = 0;
    ::eventfd_read(descriptor_, &value);
  }
  bool sleeps(bool ready_already = false) {
    const auto before = sleeps_here();
    readiness_.wait(ready_already);
    return sleeps_here() != before;
  }
  /// How many waits end at once, with nothing found, before one sleeps.
  int waits_before_sleep(bool ready_already = false) {
    for (int waits = 0; waits < 1000; ++waits)
      if (sleeps(ready_already)) return waits;
    ADD_FAILURE() << "it never sleeps";
    return 0;
  }

  const int descriptor_ = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  Readiness readiness_;
};

TEST_F(ReadinessTest, OneThatIsReadableForEverTakesNoProcessor) {
  make_readable();
  waits_before_sleep();
  const auto before = used_here();
  const auto begin = Clock::now();
  while (Clock::now() - begin < 500ms) readiness_.wait();
  EXPECT_LT(used_here() - before, (Clock::now() - begin) / 200);
}

TEST_F(ReadinessTest, NorDoesOneThatIsSaidToBeReadyForEver) {
  waits_before_sleep(true);
  EXPECT_LE(waits_before_sleep(true), 1);
}

TEST_F(ReadinessTest, NewsInDoubtMakeItBelieved) {
  make_readable();
  waits_before_sleep();
  EXPECT_LE(waits_before_sleep(), 1) << "without news";
  for (int round = 0; round < 20; ++round) {
    make_readable();
    EXPECT_GT(waits_before_sleep(), 4);
  }
}

TEST_F(ReadinessTest, NewsInDoubtEndTheSleep) {
  // Without them it ends after 20 ms. What a busy machine makes slow is tried again.
  make_readable();
  EXPECT_TRUE(test::eventually([&] {
    waits_before_sleep();
    std::atomic<bool> ready{false};
    const std::jthread peer([&] {
      ready = true;
      std::this_thread::sleep_for(2ms);
      make_readable();
    });
    while (!ready) std::this_thread::yield();
    readiness_.wait();  // believes once
    const auto begin = Clock::now();
    return sleeps() && Clock::now() - begin < 15ms;
  }));
}

TEST_F(ReadinessTest, OneThatWasRightIsBelieved) {
  make_readable();
  for (int i = 0; i < 1000; ++i) {
    ASSERT_FALSE(sleeps());
    readiness_.was_right();
  }
}

TEST_F(ReadinessTest, OneThatBecomesQuietIsBelievedAgain) {
  make_readable();
  waits_before_sleep();
  make_quiet();
  // Which sleeps longer than doubt would let it.
  EXPECT_TRUE(test::eventually([&] {
    const auto begin = Clock::now();
    return sleeps() && Clock::now() - begin > 500ms;
  }));
}

TEST_F(ReadinessTest, NoWaitSleepsAfterStop) {
  readiness_.stop();
  for (int i = 0; i < 100; ++i) EXPECT_FALSE(sleeps());
}

}  // namespace
}  // namespace mempool::transport
