// Whether processes with nothing to do leave the processor alone: over every way to blobs, after
// everything that a client or a node can do, on both sides, by the time that the kernel accounts.
#include <optional>
#include <sstream>

#include "cluster_fixture.h"

namespace mempool::test {
namespace {

using ::testing::HasSubstr;

/// What an idle process may use of one core.
constexpr double kShare = 0.005;
/// Long enough for that to be many times what one look at everything costs.
constexpr auto kSpan = 250ms;

class IdleTest : public ProviderTest {
 protected:
  void SetUp() override {
    ProviderTest::SetUp();
    if (IsSkipped()) return;
    try {
      const Daemon node(spill_directory("any"), only());
    } catch (const std::exception& refused) {
      if (std::string_view(refused.what()).find("not usable on this machine") == std::string::npos)
        throw;
      GTEST_SKIP() << "SKIPPED: no provider " << provider() << " on this machine";
    }
  }

  /// What each of them, and this process, used of a core in one span.
  static std::vector<double> measure(const std::vector<pid_t>& pids) {
    std::vector<std::chrono::nanoseconds> before;
    for (const auto pid : pids) before.push_back(processor_time(pid));
    const auto begin = Clock::now();
    std::this_thread::sleep_for(kSpan);  // what is measured is the passing of time
    const std::chrono::duration<double, std::nano> took = Clock::now() - begin;
    std::vector<double> shares;
    for (std::size_t i = 0; i < pids.size(); ++i)
      shares.push_back(static_cast<double>((processor_time(pids[i]) - before[i]).count()) /
                       took.count());
    return shares;
  }

  /// This process and `nodes` come to rest. A second is what the work before may need to end where
  /// the machine is free; what does not rest never does.
  static void expect_idle(const std::string& after, std::vector<pid_t> nodes) {
    nodes.insert(nodes.begin(), ::getpid());
    constexpr auto kLimit = kSanitized ? 10s : 4s;
    std::vector<double> shares;
    const bool idle = eventually(
        [&] {
          shares = measure(nodes);
          return std::ranges::all_of(shares, [](double share) { return share <= kShare; });
        },
        kLimit);
    std::ostringstream used;
    for (const auto share : shares) used << ' ' << share * 100 << " %";
    EXPECT_TRUE(idle) << "after " << after
                      << " the client, then nodes, use of a core:" << used.str();
  }
};

INSTANTIATE_TEST_SUITE_P(Over, IdleTest,
                         ::testing::Values("auto", "net", "tcp", "sockets", "shm", "verbs",
                                           "shared", "files", "push"),
                         provider_name);

TEST_P(IdleTest, AfterGets) {
  const Daemon node(spill_directory("a"), only());
  auto client = client_of(node);
  const auto rests = [&](const std::string& after) { expect_idle(after, {node.pid()}); };
  rests("connecting");
  const std::vector refs{set(client, 1, 64), set(client, 2, 100'000), set(client, 3, 9 * kMiB)};
  rests("sets");
  for (std::uint64_t i = 0; i < refs.size(); ++i) {
    EXPECT_TRUE(holds(client, refs[i], i + 1));
    rests("a get of " + std::to_string(refs[i].length) + " bytes");
  }
  EXPECT_EQ(gets_by(client, path()), 3U) << "they came by another path";
  must(client.poolget_async(refs[1]).wait());
  rests("a get that was waited for");
  (void)client.poolget_async(refs[2]);
  rests("a get that was dropped");
  for (const auto& view : client.poolget_all(refs)) EXPECT_TRUE(view);
  rests("a batch");
  Bytes part(50'000);
  must(client.poolread(refs[2], kMiB + 1, part));
  rests("a get of a range");
  auto buffer = must(client.buffer(100'000));
  must(client.poolget(refs[1], buffer));
  rests("a get into a Buffer");
  {
    const auto view = must(client.poolget(refs[2]));
    rests("a get whose view is held");
  }
  must(client.inspect(refs[0]));
  must(client.stats());
  must(client.nodes());
  rests("questions");
}

TEST_P(IdleTest, AfterSetsAndDeletes) {
  const Daemon node(spill_directory("a"), {.arguments = only(), .max_memsize = "8MiB"});
  const Words paths = over_a_fabric() ? Words{provider(), "pull"} : Words{provider()};
  auto client = connect(node, paths);
  const auto rests = [&](const std::string& after) { expect_idle(after, {node.pid()}); };
  const auto small = set(client, 1, 64);
  rests("a set");
  const auto large = set(client, 2, 5 * kMiB);
  rests("a large set");
  set(client, 3, 5 * kMiB);
  rests("a set that evicts");
  const auto straight = set(client, 4, 20 * kMiB);
  rests("a set that goes straight to disk");
  const auto one = pattern(kMiB, 5), other = pattern(100, 6);
  const std::vector<std::span<const std::byte>> blobs{one, other};
  for (const auto& ref : client.poolset_all(blobs)) EXPECT_TRUE(ref);
  rests("a batch of sets");
  for (const auto& ref : {small, large, straight}) must(client.pooldelete(ref));
  rests("deletes");
}

TEST_P(IdleTest, AfterMovesBetweenMemoryAndDisk) {
  const Daemon node(spill_directory("a"), only());
  auto client = client_of(node);
  const auto rests = [&](const std::string& after) { expect_idle(after, {node.pid()}); };
  const auto ref = set(client, 1, 3 * kMiB);
  must(client.copytodisk(ref));
  rests("a copy to disk");
  const auto file = must(client.movetodisk(ref));
  rests("a move to disk");
  EXPECT_TRUE(holds(client, ref, 1));
  rests("a get of what is on disk");
  must(client.poolget(file));
  rests("a get of the file");
  const auto saved = must(client.savetodisk(ref, directory_ / "saved"));
  rests("a save");
  const auto adopted = must(client.adopt(saved));
  EXPECT_TRUE(holds(client, adopted, 1));
  rests("a get of what was adopted");
  must(client.prefetch(ref));
  rests("a prefetch");
  EXPECT_TRUE(holds(client, ref, 1));
  rests("a get of what was prefetched");
}

TEST_P(IdleTest, AfterErrors) {
  auto arguments = only();
  arguments.insert(arguments.end(), {"--max-disksize", "1MiB"});
  Daemon node(spill_directory("a"), {.arguments = arguments, .max_memsize = "8MiB"});
  auto client = client_of(node);
  const auto rests = [&](const std::string& after) { expect_idle(after, {node.pid()}); };
  const auto ref = set(client, 1, 100'000);
  EXPECT_TRUE(holds(client, ref, 1));
  const auto gone = set(client, 2, 100'000);
  EXPECT_TRUE(holds(client, gone, 2));
  must(client.pooldelete(gone));
  EXPECT_EQ(code(client.poolget(gone)), Code::kNotFound);
  EXPECT_EQ(code(client.pooldelete(gone)), Code::kNotFound);
  rests("NotFound");
  DRef earlier = ref;
  earlier.id.incarnation += 1;
  EXPECT_EQ(code(client.poolget(earlier)), Code::kStaleReference);
  Bytes out(10);
  EXPECT_EQ(code(client.poolread(ref, ref.length, out)), Code::kInvalidArgument);
  EXPECT_EQ(code(client.poolset(pattern(20 * kMiB))), Code::kNoSpace);
  rests("refusals");
  DRef nowhere = ref;
  nowhere.id.node += 1;
  EXPECT_EQ(code(client.poolget(nowhere)), Code::kUnavailable);
  rests("an unknown owner");
  // Over some paths the bytes come without the owner's help.
  node.pause();
  (void)client.poolget(ref, {.timeout_ms = 300});
  EXPECT_EQ(code(client.poolset(pattern(100), {.timeout_ms = 300})), Code::kTimeout);
  // A thread of libfabric's spins as long as a read over `sockets` is under way.
  if (provider() != "sockets") rests("a Timeout");
  node.resume();
  EXPECT_TRUE(eventually([&] { return client.poolget(ref).has_value(); }));
  rests("the end of its cause");
}

TEST_P(IdleTest, WhenReadersHaveGone) {
  const Daemon node(spill_directory("a"), only());
  auto client = client_of(node);
  const auto ref = set(client, 1);
  const auto rests = [&](const std::string& after) { expect_idle(after, {node.pid()}); };
  const std::vector<Reader::Blob> blobs{{1, ref.to_string()}};
  const auto gone = [&] { return must(client.stats()).sessions == 1; };
  {
    Reader reader(node.address(), blobs, {.paths = provider(), .hold = false});
    EXPECT_THAT(reader.out(), HasSubstr("right\n"));
    reader.child().wait();
  }
  EXPECT_TRUE(eventually(gone));
  rests("the end of a reader");
  // Who is killed in the middle of shm's locks takes the node along.
  if (GetParam() == std::string("shm")) return;
  Reader reader(node.address(), blobs, {.paths = provider()});
  EXPECT_THAT(reader.out(), HasSubstr("right\n"));
  rests("the gets of two");
  reader.child().signal(SIGKILL);
  reader.child().wait();
  EXPECT_TRUE(eventually(gone));
  rests("the death of a reader");
}

TEST_P(IdleTest, WhenTheOwnerHasGone) {
  const auto port = std::to_string(fixed_port());
  auto node = std::make_unique<Daemon>(spill_directory("a"), only(port));
  auto client = client_of(*node, 2000);
  const auto ref = set(client, 1);
  EXPECT_TRUE(holds(client, ref, 1));
  node->kill9();
  expect_idle("its death", {});
  EXPECT_FALSE(client.poolget(ref));
  expect_idle("a get from a dead node", {});
  node = std::make_unique<Daemon>(spill_directory("a"), only(port));
  EXPECT_TRUE(eventually([&] { return code(client.poolget(ref)) == Code::kStaleReference; }));
  const auto again = set(client, 2);
  EXPECT_TRUE(holds(client, again, 2));
  expect_idle("its return", {node->pid()});
  node->stop();
  expect_idle("its end", {});
}

/// Each of them reads and is read from.
TEST_P(IdleTest, NodesOfACluster) {
  Daemon other(spill_directory("b"), only());
  auto node = node_here(other);
  const auto rests = [&](const std::string& after) { expect_idle(after, {other.pid()}); };
  rests("meeting");
  const auto there = set(node, 1, 3 * kMiB, {.node = other.node_id()});
  EXPECT_TRUE(holds(node, there, 1));
  rests("its get");
  const auto here = set(node, 2);
  const auto reads_here = [&] {
    Reader reader(other.address(), {{2, here.to_string()}}, {.paths = provider(), .hold = false});
    EXPECT_THAT(reader.out(), HasSubstr("right\n"));
    reader.child().wait();
  };
  reads_here();
  rests("another's get");
  EXPECT_TRUE(holds(node, there, 1));
  reads_here();
  rests("both");
  other.kill9();
  expect_idle("the other's death", {});
  EXPECT_FALSE(node.poolget(there, {.timeout_ms = 1000}));
  expect_idle("a get from a dead node", {});
}

}  // namespace
}  // namespace mempool::test
