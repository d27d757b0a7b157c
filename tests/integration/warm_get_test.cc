// Warm gets: what they ask of the owner (nothing), of the system (nothing), and how the owner hears
// of them all the same. References whose hints are old.
#include <cerrno>
#include <cstddef>

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "cluster_fixture.h"

namespace mempool::test {
namespace {

using ::testing::ElementsAre;

/// Over every way that leaves the owner out.
class WarmGetTest : public ProviderTest {
 protected:
  static std::uint64_t requests(Pool& pool) { return must(pool.stats()).requests_served; }
  /// What the owner was asked by `body`, without the question itself.
  template <class Body>
  static std::uint64_t asked_by(Pool& pool, Body body) {
    const auto before = requests(pool);
    body();
    return requests(pool) - before - 1;
  }
  /// The blob gets another place in memory, by another client: the reader's hint is old.
  static void move_in_memory(Pool& pool, const DRef& ref) {
    must(pool.movetodisk(ref));
    must(pool.prefetch(ref));
  }
};
INSTANTIATE_TEST_SUITE_P(Over, WarmGetTest, ::testing::Values("best", "sockets", "verbs", "shared"),
                         provider_name);

TEST_P(WarmGetTest, LeaveTheOwnersCountersAloneButForReports) {
  constexpr std::uint64_t kBlobs = 100;
  const std::uint64_t gets = over_a_fabric() ? 2'000 : kSanitized ? 50'000 : 1'000'000;
  Daemon node(spill_directory("a"), only());
  auto client = client_of(node);
  std::vector<DRef> refs;
  for (std::uint64_t i = 0; i < kBlobs; ++i) refs.push_back(set(client, i, 64));
  for (const auto& ref : refs) must(client.poolget(ref));
  const auto before = must(client.stats());
  const auto begin = Clock::now();
  for (std::uint64_t i = 0; i < gets; ++i) {
    const auto view = client.poolget(refs[i % kBlobs]);
    ASSERT_TRUE(view);
    ASSERT_EQ(view->path(), kind());
  }
  const auto took = Clock::now() - begin;
  const auto after = must(client.stats());
  EXPECT_EQ(after.requests_served, before.requests_served + 1) << "which asked for this";
  const auto reports = after.recency_reports - before.recency_reports;
  EXPECT_LE(reports, static_cast<std::uint64_t>(took / 100ms) + 2) << "one in 100 ms";
  EXPECT_TRUE(eventually([&] { return must(client.stats()).recency_reports > 0; }))
      << "the gets may have taken less than 100 ms";
  EXPECT_EQ(gets_by(client, path()), gets + kBlobs);
}

TEST_P(WarmGetTest, ReachTheOwnersOrderSoon) {
  Daemon node(spill_directory("a"), {.arguments = only(), .max_memsize = "4MiB"});
  auto client = client_of(node);
  auto other = client_of(node);
  const auto a = set(client, 1), b = set(client, 2), c = set(client, 3), d = set(client, 4);
  // From several clients, in whole and in part.
  EXPECT_TRUE(holds(client, a, 1));
  Bytes part(10);
  must(other.poolread(b, 5, part));
  EXPECT_TRUE(eventually([&] { return must(client.stats()).recency_reports == 2; }));
  set(client, 5, 2 * kMiB);
  EXPECT_THAT(where_are(client, {a, b, c, d}), ElementsAre("memory", "memory", "disk", "disk"));
}

/// The best of many: how late the others are says how busy the machine is.
TEST_P(WarmGetTest, AreReportedAfterAHundredMilliseconds) {
  Daemon node(spill_directory("a"), only());
  auto client = client_of(node);
  const auto ref = set(client, 1);
  auto soonest = Clock::duration::max();
  for (std::uint64_t report = 1; report <= 40 && soonest > 130ms; ++report) {
    const auto begin = Clock::now();
    EXPECT_TRUE(holds(client, ref, 1));
    EXPECT_TRUE(eventually([&] { return must(client.stats()).recency_reports == report; }));
    soonest = std::min(soonest, Clock::now() - begin);
  }
  EXPECT_GE(soonest, 100ms) << "at most one in 100 ms";
  EXPECT_LE(soonest, 130ms);
}

TEST_P(WarmGetTest, NobodyReportsWhatIsNotRead) {
  Daemon node(spill_directory("a"), only());
  auto client = client_of(node);
  const auto ref = set(client, 1);
  EXPECT_TRUE(holds(client, ref, 1));
  EXPECT_TRUE(eventually([&] { return must(client.stats()).recency_reports == 1; }));
  const auto before = must(client.stats());
  std::this_thread::sleep_for(350ms);  // what is measured is the passing of time
  const auto after = must(client.stats());
  EXPECT_EQ(after.recency_reports, before.recency_reports);
  EXPECT_EQ(after.requests_served, before.requests_served + 1);
}

TEST_P(WarmGetTest, ReadersOfManyBlobsReportWithinBounds) {
  constexpr std::uint64_t kBlobs = kSanitized ? 1'000 : 6'000;  // a report has room for 4096
  Daemon node(spill_directory("a"), only());
  auto client = client_of(node);
  std::vector<DRef> refs;
  for (std::uint64_t i = 0; i < kBlobs; ++i) refs.push_back(set(client, i, 8));
  const auto asked = asked_by(client, [&] {
    for (const auto& ref : refs) must(client.poolget(ref));
  });
  EXPECT_EQ(asked, 0U);
  EXPECT_TRUE(eventually([&] { return must(client.stats()).recency_reports > 0; }));
  EXPECT_EQ(store_stats(client).blobs, kBlobs) << "the owner took the reports";
}

// ---- verification ----

TEST_P(WarmGetTest, WhoRereadsLooksAtEachHeaderAgain) {
  Daemon node(spill_directory("a"), only());
  ClusterOptions options;
  options.providers = {provider()};
  options.reread = true;
  auto client = must(Pool::connect(node.address(), options));
  const auto ref = set(client, 1);
  for (int i = 0; i < 10; ++i) EXPECT_TRUE(holds(client, ref, 1));
  EXPECT_EQ(gets_by(client, path()), 10U);
  auto retries = client.local_stats().retries;
  // Copies and views of shared memory are verified like that in any case.
  EXPECT_EQ(retries["late"], over_a_fabric() ? 10U : 0U);
}

// ---- references whose hints are old ----

TEST_P(WarmGetTest, AnOldHintCostsOneQuestionOnce) {
  Daemon node(spill_directory("a"), only());
  auto owner = connect(node);
  auto client = client_of(node);
  const auto ref = set(client, 1);
  EXPECT_TRUE(holds(client, ref, 1));
  for (int round = 0; round < 3; ++round) {
    move_in_memory(owner, ref);
    const auto get = [&] {
      const auto view = must(client.poolget(ref));
      EXPECT_EQ(view.path(), kind());
      EXPECT_TRUE(same(view.bytes(), pattern(kMiB, 1)));
    };
    EXPECT_EQ(asked_by(client, get), 1U) << round;
    EXPECT_EQ(asked_by(client,
                       [&] {
                         for (int i = 0; i < 20; ++i) get();
                       }),
              0U)
        << round;
    Bytes part(100);
    EXPECT_EQ(asked_by(client, [&] { must(client.poolread(ref, 50, part)); }), 0U);
    const auto whole = pattern(kMiB, 1);
    EXPECT_TRUE(same(part, std::span(whole).subspan(50, 100)));
  }
}

TEST_P(WarmGetTest, AReferenceMayBeNewerThanWhatWasLearnt) {
  Daemon node(spill_directory("a"), only());
  auto owner = connect(node);
  auto client = client_of(node);
  const auto ref = set(client, 1);
  move_in_memory(owner, ref);
  EXPECT_TRUE(holds(client, ref, 1));  // learns where it is
  move_in_memory(owner, ref);
  const auto fresh = must(owner.inspect(ref)).ref;
  EXPECT_TRUE(holds(client, fresh, 1));
  for (const auto& either : {fresh, ref})
    EXPECT_EQ(asked_by(client, [&] { EXPECT_TRUE(holds(client, either, 1)); }), 0U)
        << "what was learnt is out of date, and stays so";
}

TEST_P(WarmGetTest, ABlobThatWasReadFromItsFileAndLoadedIsWarm) {
  Daemon node(spill_directory("a"), only());
  auto client = client_of(node);
  const auto ref = set(client, 1);
  must(client.movetodisk(ref));
  EXPECT_TRUE(holds(client, ref, 1));
  EXPECT_TRUE(holds(client, ref, 1));
  EXPECT_EQ(asked_by(client, [&] { EXPECT_TRUE(holds(client, ref, 1)); }), 0U);
  // A reference without a hint, as of a blob that went straight to disk, learns as well.
  DRef without = ref;
  without.hint = {};
  EXPECT_EQ(asked_by(client, [&] { EXPECT_TRUE(holds(client, without, 1)); }), 0U);
}

// ---- the system ----

/// From here on any other system call than the allowed ones kills the process.
void forbid_system_calls(std::initializer_list<int> allowed) {
  std::vector<sock_filter> filter{BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr))};
  for (const int number : allowed) {
    filter.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<unsigned>(number), 0, 1));
    filter.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
  }
  filter.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS));
  const sock_fprog program{static_cast<unsigned short>(filter.size()), filter.data()};
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
      ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
    ::_exit(77);
}

class SystemCallTest : public ClusterTest {
 protected:
  void SetUp() override {
    if (kSanitized) GTEST_SKIP() << "SKIPPED: sanitizers make system calls of their own";
    if (!in_child([] { forbid_system_calls({SYS_exit_group}); }))
      GTEST_SKIP() << "SKIPPED: seccomp is not allowed here";
    if (in_child([] {
          forbid_system_calls({SYS_exit_group});
          (void)::getppid();
        }))
      GTEST_SKIP() << "SKIPPED: seccomp does not see system calls here";
    if (!in_child([] {
          forbid_system_calls({SYS_exit_group});
          (void)Clock::now();
        }))
      GTEST_SKIP() << "SKIPPED: reading the clock is a system call here";
  }

  static constexpr std::uint64_t kMillion = 1'000'000;

  /// Whether a million warm gets by shared memory do with the allowed ones, on their thread: into
  /// a view, into a Buffer, and of a range.
  bool warm_gets_do_with(std::initializer_list<int> allowed, const GetOptions& options) {
    Daemon node(spill_directory("a"), {"--provider", "shared"});
    return in_child([&] {
      auto client = std::make_unique<Pool>(connect(node, {"shared"}));
      std::vector<DRef> refs;
      for (std::uint64_t i = 0; i < 50; ++i) refs.push_back(set(*client, i, 4096));
      Bytes out(4096);
      auto buffer = must(client->buffer(4096));
      std::uint64_t sum = 0;
      std::uint64_t gets = 0;
      const auto get_all = [&] {
        for (const auto& ref : refs) {
          const auto view = client->poolget(ref, options);
          if (!view || view->path() != Path::kSharedMemory ||
              !client->poolget(ref, buffer, options) || !client->poolread(ref, 0, out, options))
            ::_exit(2);
          sum += static_cast<std::uint64_t>(view->bytes()[17]) +
                 static_cast<std::uint64_t>(buffer.bytes()[5]) + static_cast<std::uint64_t>(out[9]);
          gets += 3;
        }
      };
      for (int round = 0; round < 100; ++round) get_all();
      forbid_system_calls(allowed);
      const auto end = Clock::now() + 500ms;  // several reports
      while (gets < kMillion || Clock::now() < end) get_all();
      ::_exit(sum != 0 ? 0 : 2);
    });
  }
};

TEST_F(SystemCallTest, WarmSharedMemoryGetsMakeNone) {
  EXPECT_TRUE(warm_gets_do_with({SYS_exit_group}, {.touch = false}));
}

/// Once in 100 ms the I/O thread is woken to send what was read; it may hold its lock just then.
TEST_F(SystemCallTest, ReportingThemTakesNoMoreThanAWakeUp) {
  EXPECT_TRUE(warm_gets_do_with({SYS_exit_group, SYS_epoll_ctl, SYS_futex}, {}));
}

}  // namespace
}  // namespace mempool::test
