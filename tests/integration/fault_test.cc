// Clients and nodes that die, stop or leave in the middle: others go on, and nothing leaks.
#include <atomic>
#include <csignal>
#include <future>
#include <optional>
#include <thread>

#include <sys/mman.h>

#include "cluster_fixture.h"

namespace mempool::test {
namespace {

using ::testing::IsEmpty;

class FaultTest : public ProviderTest {
 protected:
  /// Another client's work all through a fault: what it sets reads back.
  class Bystander {
   public:
    explicit Bystander(Pool pool) : pool_(std::move(pool)) {
      thread_ = std::thread([this] {
        for (std::uint64_t seed = 1; !stop_; ++seed) {
          const auto ref = pool_.poolset(pattern(100'000, seed));
          const auto view = ref ? pool_.poolget(*ref) : Result<View>(tl::unexpected(ref.error()));
          const bool right = view && same(view->bytes(), pattern(100'000, seed));
          const bool gone = ref && pool_.pooldelete(*ref);
          if (!right || !gone) {
            ADD_FAILURE() << "a client that has nothing to do with it: " << message(view);
            return;
          }
          ++rounds_;
        }
      });
    }
    /// Until the bystander has done more work.
    void await_progress() {
      const int before = rounds_;
      EXPECT_TRUE(eventually([&] { return rounds_ > before + 3; }));
    }
    ~Bystander() {
      stop_ = true;
      thread_.join();
      EXPECT_GT(rounds_, 0);
    }

   private:
    Pool pool_;
    std::atomic<bool> stop_{false};
    std::atomic<int> rounds_{0};
    std::thread thread_;
  };

  template <class Predicate>
  static void kill_when(Child& client, Predicate in_the_middle) {
    ASSERT_TRUE(eventually([&] { return in_the_middle() || !client.running(); }));
    ASSERT_TRUE(client.running()) << "it was over before it could be killed";
    client.signal(SIGKILL);
    client.wait();
  }
  /// Kills a client that reads a blob when it has written some of it, but not all.
  void kill_in_the_middle_of_a_get(const Daemon& node, const DRef& ref) const {
    const auto out = directory_ / "out";
    Child getter({cli_program(), "--node", node.address(), "--provider", provider(), "get",
                  ref.to_string(), "-o", out.native()});
    const auto part = out.native() + ".part." + std::to_string(getter.pid());
    kill_when(getter, [&] {
      std::error_code none;
      const auto bytes = fs::file_size(part, none);
      return !none && bytes > 0;
    });
    fs::remove(part);
  }
  /// The sessions of all other clients end, and with them their pins.
  static void expect_to_be_the_last(Pool& client) {
    Stats stats;
    EXPECT_TRUE(eventually([&] {
      stats = must(client.stats());
      return stats.sessions == 1 && stats.store.pinned_blobs == 0;
    })) << stats.sessions
        << " sessions, " << stats.store.pinned_blobs << " pinned";
  }

  static bool failed_for_want_of_a_peer(Code code) {
    return code == Code::kUnavailable || code == Code::kTimeout;
  }
};
INSTANTIATE_TEST_SUITE_P(Over, FaultTest, ::testing::Values("best", "sockets", "verbs", "shared"),
                         provider_name);

TEST_P(FaultTest, ClientKilledInTheMiddleOfABigSet) {
  Daemon node(spill_directory("a"), {.arguments = only(), .max_memsize = "512MiB"});
  const auto big = directory_ / "big";
  write_file(big, {});
  fs::resize_file(big, 400 * kMiB);
  auto client = client_of(node);
  {
    Bystander bystander(client_of(node));
    for (int round = 0; round < 3; ++round) {
      Child setter({cli_program(), "--node", node.address(), "set", big.native()});
      // Its memory is reserved: it is in the middle.
      kill_when(setter, [&] { return store_stats(client).payload_bytes > 100 * kMiB; });
      EXPECT_TRUE(eventually([&] { return store_stats(client).payload_bytes < kMiB; }))
          << "the reservation leaked";
      bystander.await_progress();
    }
  }
  expect_to_be_the_last(client);
  expect_empty(client, node);
}

TEST_P(FaultTest, ClientKilledInTheMiddleOfABigSetToDisk) {
  Daemon node(spill_directory("a"), {.arguments = only(), .max_memsize = "8MiB"});
  const auto big = directory_ / "big";
  write_file(big, {});
  fs::resize_file(big, 400 * kMiB);
  auto client = client_of(node);
  {
    Bystander bystander(client_of(node));
    Child setter({cli_program(), "--node", node.address(), "set", big.native()});
    kill_when(setter, [&] { return !files_below(node.spill_directory(), ".tmp").empty(); });
    EXPECT_TRUE(eventually([&] { return store_stats(client).disk_bytes == 0; }));
    bystander.await_progress();
  }
  expect_to_be_the_last(client);
  expect_empty(client, node);
}

TEST_P(FaultTest, ClientKilledInTheMiddleOfABigRead) {
  Daemon node(spill_directory("a"), {.arguments = only(), .max_memsize = "512MiB"});
  auto client = client_of(node);
  const auto ref = set(client, 1, 256 * kMiB);
  {
    Bystander bystander(client_of(node));
    for (int round = 0; round < 3; ++round) {
      kill_in_the_middle_of_a_get(node, ref);
      bystander.await_progress();
    }
  }
  expect_to_be_the_last(client);
  EXPECT_TRUE(holds(client, ref, 1));
  must(client.pooldelete(ref));
  expect_empty(client, node);
}

TEST_P(FaultTest, ClientKilledInTheMiddleOfAPushedRead) {
  // Only the owner can send it: it is on disk and never in the arena.
  Daemon node(spill_directory("a"), {.arguments = only(), .max_memsize = "8MiB"});
  auto client = client_of(node);
  const auto ref = set(client, 1, 256 * kMiB);
  {
    Bystander bystander(client_of(node));
    kill_in_the_middle_of_a_get(node, ref);
    bystander.await_progress();
  }
  expect_to_be_the_last(client);
  must(client.pooldelete(ref));
  expect_empty(client, node);
}

TEST_P(FaultTest, OwnerKilledInTheMiddleOfARead) {
  Daemon node(spill_directory("a"), {.arguments = only(), .max_memsize = "512MiB"});
  auto client = client_of(node, 120'000);
  const auto ref = set(client, 1, 200 * kMiB);
  std::atomic<int> reads{0};
  Code ended = Code::kOk;
  Clock::time_point last_start;
  std::thread reader([&] {
    Bytes out(64 * kMiB);
    while (ended == Code::kOk) {
      last_start = Clock::now();
      ended = code(client.poolread(ref, kMiB, out));
      ++reads;
    }
  });
  EXPECT_TRUE(eventually([&] { return reads > 1; }));
  node.kill9();
  reader.join();
  EXPECT_TRUE(failed_for_want_of_a_peer(ended)) << to_string(ended);
  EXPECT_LT(Clock::now() - last_start, kPatience) << "the end of the session ends its reads";
  const auto begin = Clock::now();
  EXPECT_TRUE(failed_for_want_of_a_peer(code(client.poolget(ref))));
  EXPECT_TRUE(failed_for_want_of_a_peer(code(client.poolset(pattern(10)))));
  EXPECT_LT(Clock::now() - begin, kPatience);
}

TEST_P(FaultTest, OwnerStoppedGivesTimeoutAndGoesOnLater) {
  Daemon node(spill_directory("a"), only());
  auto client = client_of(node, 120'000);
  const auto ref = set(client, 1);
  EXPECT_TRUE(holds(client, ref, 1));
  node.pause();
  // Reads by RDMA and of shared memory need an owner's process that lives, not one that runs.
  const bool reads_go_on = rdma() || kind() == Path::kSharedMemory;
  const auto in_time = [&](auto call, bool goes_on = false) {
    const auto begin = Clock::now();
    const Code got = call();
    const auto took = Clock::now() - begin;
    EXPECT_TRUE(goes_on ? got == Code::kOk : failed_for_want_of_a_peer(got)) << to_string(got);
    EXPECT_LT(took, kPatience) << "the deadline was half a second, the client's own is two minutes";
  };
  Bytes out(10);
  in_time([&] { return code(client.poolget(ref, {.timeout_ms = 500})); }, reads_go_on);
  in_time([&] { return code(client.poolread(ref, 0, out, {.timeout_ms = 500})); }, reads_go_on);
  // A large set that stands still takes the connection with it, and with that all reads.
  in_time([&] { return code(client.poolset(pattern(10), {.timeout_ms = 500})); });
  in_time([&] { return code(client.poolset(pattern(5 * kMiB), {.timeout_ms = 500})); });
  in_time([&] {
    ClusterOptions impatient;
    impatient.timeout_ms = 500;
    return code(Pool::connect(node.address(), impatient));
  });
  node.resume();
  // The same client, and the blob of before.
  Result<View> view = fail(Code::kOk, "");
  EXPECT_TRUE(eventually([&] {
    view = client.poolget(ref, {.timeout_ms = 10'000});
    return view.has_value();
  })) << message(view);
  EXPECT_TRUE(view && same(view->bytes(), pattern(kMiB, 1)));
  EXPECT_TRUE(holds(client, set(client, 2), 2));
}

/// C9: whoever was told that nothing was stored has no reference to delete it by.
TEST_P(FaultTest, ASetThatCameTooLateLeavesNothing) {
  Daemon node(spill_directory("a"), only());
  auto client = client_of(node, 120'000);
  expect_empty(client, node);
  node.pause();
  EXPECT_EQ(code(client.poolset(pattern(1000), {.timeout_ms = 300})), Code::kTimeout);
  EXPECT_EQ(code(client.poolset(pattern(5 * kMiB), {.timeout_ms = 300})), Code::kTimeout);
  node.resume();
  auto other = client_of(node, 30'000);
  EXPECT_TRUE(eventually([&] {
    const auto stats = store_stats(other);
    return stats.blobs == 0 && stats.payload_bytes == 0;
  }));
  // What came late was begun before this, which comes by the same connection.
  must(client.pooldelete(set(client, 1)));
  EXPECT_TRUE(eventually([&] { return store_stats(other).blobs == 0; }));
  expect_empty(other, node);
}

TEST_F(ClusterTest, ANodeEndsWhileASetWaitsForRoom) {
  Daemon node(spill_directory("a"), {"--quarantine-ms", "600000"});
  auto client = connect(node, {}, 300'000);
  const auto bytes = pattern(30 * kMiB);
  std::future<Code> set_and_deleted;
  int sets = 0;
  do {
    ASSERT_LT(++sets, 100) << "no set waits: this test shows nothing";
    set_and_deleted = std::async(std::launch::async, [&] {
      auto ref = client.poolset(bytes);
      return ref ? code(client.pooldelete(*ref)) : code(ref);
    });
  } while (set_and_deleted.wait_for(3s) == std::future_status::ready &&
           set_and_deleted.get() == Code::kOk);
  node.stop();
  if (!set_and_deleted.valid()) return;  // it ended in the loop
  EXPECT_NE(set_and_deleted.get(), Code::kOk);
}

TEST_P(FaultTest, OnesDeadlineIsNobodyElsesTrouble) {
  Daemon node(spill_directory("a"), only());
  auto client = client_of(node, 30'000);
  const auto ref = set(client, 1);
  std::atomic<bool> stop{false};
  std::thread impatient([&] {
    const auto bytes = pattern(kMiB);
    while (!stop) (void)client.poolset(bytes, {.timeout_ms = 1});
  });
  int failed = 0;
  for (int i = 0; i < 500; ++i) failed += !client.poolget(ref);
  stop = true;
  impatient.join();
  EXPECT_EQ(failed, 0);
}

TEST_P(FaultTest, AReadThatFailsLeavesABufferOfThatSize) {
  Daemon node(spill_directory("a"), only());
  auto client = client_of(node, 30'000);
  const auto ref = set(client, 1);
  auto buffer = must(client.buffer(2 * kMiB));
  must(client.poolget(ref, buffer));
  node.pause();
  (void)client.poolget(ref, buffer, {.timeout_ms = 600});
  node.resume();
  EXPECT_GE(buffer.bytes().size(), 2 * kMiB);
  EXPECT_TRUE(eventually([&] { return client.poolget(ref, buffer).has_value(); }));
  EXPECT_TRUE(same(buffer.bytes().first(kMiB), pattern(kMiB, 1)));
}

TEST_P(FaultTest, ATextThatIsTooLongIsRefusedHere) {
  Daemon node(spill_directory("a"), only());
  auto client = client_of(node, 30'000);
  const auto ref = set(client, 1);
  SetOptions options;
  options.type_name.assign(70'000, 'x');
  EXPECT_EQ(code(client.poolset(pattern(10), options)), Code::kInvalidArgument);
  options.type_name.resize(2000);
  EXPECT_EQ(code(client.poolset(pattern(10), options)), Code::kInvalidArgument);
  for (const std::size_t bytes : {5000, 65'000})
    EXPECT_EQ(code(client.adopt({.path = "/" + std::string(bytes, 'x')})), Code::kInvalidArgument);
  EXPECT_NE(code(client.adopt({.path = "/" + std::string(4000, 'x')})), Code::kOk);
  EXPECT_TRUE(holds(client, ref, 1));
  EXPECT_EQ(must(client.stats()).sessions, 1U) << "the connection is the one of before";
}

class RouteTest : public PausedOwnerTest {
 protected:
  /// Gets from several threads at once; returns when all are over.
  void get_together(std::uint32_t timeout_ms) {
    std::vector<std::future<void>> gets;
    for (int i = 0; i < 4; ++i)
      gets.push_back(std::async(std::launch::async, [this, timeout_ms] {
        (void)client_.poolget(ref_, {.timeout_ms = timeout_ms});
      }));
  }
  std::uint64_t changes() const { return client_.local_stats().path_changes; }
  Path path() {
    const auto view = client_.poolget(ref_);
    return view ? view->path() : Path::kInProcess;
  }
};

TEST_F(RouteTest, CallersWithLittleTimeTakeNoProviderAway) {
  node_.pause();
  get_together(300);
  get_together(300);
  node_.resume();
  auto first = Path::kInProcess;  // none
  EXPECT_TRUE(eventually([&] { return (first = path()) != Path::kInProcess; }));
  EXPECT_EQ(first, Path::kTcp);
  EXPECT_EQ(changes(), 0U);
}

TEST_F(RouteTest, AProviderThatBringsNothingIsGivenUpThoughNobodyHasMuchTime) {
  // Before the lease ends; a machine that is too busy for that gets another chance.
  EXPECT_TRUE(eventually([&] {
    node_.pause();
    const auto until = Clock::now() + 8s;
    while (changes() == 0 && Clock::now() < until) get_together(300);
    node_.resume();
    return changes() != 0;
  }));
}

TEST_F(RouteTest, AProviderThatWasGivenUpIsTakenBack) {
  node_.pause();
  // A read has a third of the time, which must be a fair one; and the pause must end before the
  // lease.
  EXPECT_TRUE(eventually([&] {
    get_together(4000);
    return changes() == 1;
  }));
  node_.resume();
  EXPECT_TRUE(eventually([&] { return path() == Path::kTcp; }));
  EXPECT_EQ(path(), Path::kTcp);
  EXPECT_EQ(changes(), 2U);
}

TEST_P(FaultTest, OneDeadNodeLeavesTheOthersUsable) {
  Daemon a(spill_directory("a"), only());
  auto arguments = only();
  arguments.insert(arguments.end(), {"--join", a.address()});
  Daemon b(spill_directory("b"), arguments);
  auto client = client_of(a);
  ASSERT_TRUE(eventually([&] { return must(client.nodes()).size() == 2; }));
  const auto on_a = set(client, 1);
  const auto on_b = set(client, 2, kMiB, {.node = b.node_id()});
  EXPECT_TRUE(holds(client, on_b, 2));
  b.kill9();
  // Memory on this host can be read until the end of the session was seen.
  EXPECT_TRUE(eventually(
      [&] { return failed_for_want_of_a_peer(code(client.poolget(on_b, {.timeout_ms = 2000}))); }));
  EXPECT_TRUE(holds(client, on_a, 1));
  EXPECT_TRUE(holds(client, set(client, 3), 3));
}

TEST_P(FaultTest, ClientOutlivesItsNodeAndEndsCleanly) {
  auto node = std::make_unique<Daemon>(spill_directory("a"), only());
  auto client = client_of(*node);
  auto view = must(client.poolget(set(client, 1)));
  node.reset();
  EXPECT_TRUE(same(view.bytes(), pattern(kMiB, 1))) << "bytes that were brought are the client's";
}

TEST_P(FaultTest, NodeEndsWhileClientsAreAtWork) {
  auto node = std::make_unique<Daemon>(spill_directory("a"),
                                       Daemon::Options{.arguments = only(), .max_memsize = "8MiB"});
  std::atomic<int> rounds{0};
  std::atomic<bool> stop{false};
  // Connected first: two may have done enough, and the node be gone, before the third begins.
  std::vector<Pool> clients;
  for (int i = 0; i < 3; ++i) clients.push_back(client_of(*node, 3000));
  std::vector<std::thread> threads;
  for (std::uint64_t t = 0; t < 3; ++t)
    threads.emplace_back([&, t] {
      auto& client = clients[t];
      for (std::uint64_t seed = t; !stop; seed += 10) {
        auto ref = client.poolset(pattern(2 * kMiB, seed));
        if (!ref) return;
        auto view = client.poolget(*ref);
        if (!view) return;
        EXPECT_TRUE(same(view->bytes(), pattern(2 * kMiB, seed)));
        ++rounds;
      }
    });
  EXPECT_TRUE(eventually([&] { return rounds > 10; }));
  node->stop();  // expects status 0, in time
  stop = true;
  for (auto& thread : threads) thread.join();
  EXPECT_THAT(files_below(spill_directory("a"), ".blob"), IsEmpty());
}

TEST_F(ClusterTest, ForkedChildOfAClientIsToldAndEndsCleanly) {
  Daemon node(spill_directory("a"));
  auto client = std::make_unique<Pool>(connect(node));
  const auto ref = set(*client, 1);
  EXPECT_TRUE(in_child([&] {
    EXPECT_EQ(code(client->poolget(ref)), Code::kForked);
    EXPECT_EQ(code(client->poolset({})), Code::kForked);
    EXPECT_EQ(code(client->pooldelete(ref)), Code::kForked);
    EXPECT_EQ(code(client->nodes()), Code::kForked);
    client.reset();
  }));
  EXPECT_TRUE(holds(*client, ref, 1));
}

/// What the parent has read is not mapped in the child, where the same addresses may be anything.
TEST_F(ClusterTest, ForkedChildLeavesMemoryAndReadsToItsParent) {
  constexpr std::size_t kLarge = 65 * kMiB;  // its buffer is unmapped when it is given back
  Daemon node(spill_directory("a"), Daemon::Options{.max_memsize = "128MiB"});
  auto client = connect(node, {best_tcp_provider()});
  const auto large = set(client, 1, kLarge);
  const auto small = set(client, 2);
  std::optional<View> view = must(client.poolget(large));
  std::optional<Buffer> buffer = must(client.buffer(4096));
  std::optional<PendingView> pending = client.poolget_async(small);
  std::optional<PendingView> dropped = client.poolget_async(small);
  EXPECT_TRUE(in_child([&] {
    constexpr std::uintptr_t kPage = 4096;
    const auto address = reinterpret_cast<std::uintptr_t>(view->data()) / kPage * kPage;
    auto* page = reinterpret_cast<std::byte*>(address);
    EXPECT_EQ(::mmap(page, kPage, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0),
              page);
    EXPECT_EQ(code(pending->wait()), Code::kForked);
    dropped.reset();
    buffer.reset();
    view.reset();
    *page = std::byte{1};
  }));
  EXPECT_TRUE(same(view->bytes(), pattern(kLarge, 1)));
  for (auto* get : {&pending, &dropped})
    EXPECT_TRUE(same(must((*get)->wait()).bytes(), pattern(kMiB, 2)));
}

}  // namespace
}  // namespace mempool::test
