// Nodes with RDMA: when it is used, when it is refused, and what is said when it cannot be had.
#include "cluster_fixture.h"

namespace mempool::test {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::Not;

class RdmaClusterTest : public ClusterTest {
 protected:
  void SetUp() override {
    if (rdma_address().empty()) GTEST_SKIP() << kNoRdma;
  }

  static Words with(const Words& more = {}) {
    Words words{"--listen", rdma_address() + ":0", "--insecure"};
    words.insert(words.end(), more.begin(), more.end());
    return words;
  }

  /// What clients choose from. Not shared memory, which goes before RDMA on the owner's own host.
  static Words fabrics() { return {"verbs", best_tcp_provider()}; }
  static Pool connect(const Daemon& node) { return ClusterTest::connect(node, fabrics()); }

  /// Runs what follows as somebody who is not above the limit.
  static Words with_little_locked_memory() {
    return {"/bin/sh", "-c",
            "ulimit -l 64 && exec setpriv --reuid=65534 --regid=65534 --clear-groups "
            "--bounding-set=-all \"$@\"",
            "sh"};
  }
};

TEST_F(RdmaClusterTest, GoesBeforeTcp) {
  Daemon node(spill_directory("a"), with());
  EXPECT_EQ(node.providers().front(), "verbs");
  auto client = connect(node);
  EXPECT_TRUE(holds(client, set(client, 1), 1));
  EXPECT_EQ(gets_by(client, "rdma (verbs)"), 1U);
}

TEST_F(RdmaClusterTest, PeerWithoutItGetsTcpWhileOthersKeepIt) {
  Daemon a(spill_directory("a"), with());
  Daemon b(spill_directory("b"), with({"--provider", best_tcp_provider(), "--join", a.address()}));
  auto client = connect(a);
  ASSERT_TRUE(eventually([&] { return must(client.nodes()).size() == 2; }));
  const auto on_a = set(client, 1);
  const auto on_b = set(client, 2, kMiB, {.node = b.node_id()});
  for (int round = 0; round < 2; ++round) {
    EXPECT_TRUE(holds(client, on_a, 1));
    EXPECT_TRUE(holds(client, on_b, 2));
  }
  EXPECT_EQ(gets_by(client, "rdma (verbs)"), 2U);
  EXPECT_EQ(gets_by(client, "tcp (" + best_tcp_provider() + ")"), 2U);
}

TEST_F(RdmaClusterTest, RequiredItIsUsedOrRefused) {
  Daemon node(spill_directory("a"), with({"--require-rdma"}));
  Daemon without(spill_directory("b"), with({"--provider", best_tcp_provider()}));
  const auto file = directory_ / "file";
  write_file(file, pattern(kMiB, 1));
  const auto set = run_cli(node.address(), {"--require-rdma", "set", file.native()});
  ASSERT_EQ(set.status, 0) << set.err;
  const auto ref = set.out.substr(0, set.out.find('\n'));
  const auto got = run_cli(node.address(), {"--require-rdma", "get", ref});
  EXPECT_EQ(got.status, 0) << got.err;
  EXPECT_TRUE(same(bytes_of(got.out), pattern(kMiB, 1)));

  const auto refused = run_cli(without.address(), {"--require-rdma", "nodes"});
  EXPECT_EQ(refused.status, 1);
  EXPECT_THAT(refused.err, AllOf(HasSubstr("NoProvider"), HasSubstr("RDMA is required")));

  const auto at_loopback = run_daemon(
      {"--listen", "127.0.0.1:0", "--require-rdma", "--spill-dir", spill_directory("c").native()});
  EXPECT_EQ(at_loopback.status, 1);
  EXPECT_THAT(at_loopback.err, AllOf(HasSubstr("NoProvider"), HasSubstr("RDMA")));
}

/// Most users may lock little memory: RDMA asked for by name is refused with what to do, and left
/// out of a free choice with a warning.
TEST_F(RdmaClusterTest, SmallMemoryLockLimitOfANodeIsExplained) {
  const fs::path place = directory_ / "open";
  fs::create_directory(place);
  fs::permissions(directory_.path(), fs::perms::all);
  fs::permissions(place, fs::perms::all);
  const Words prefix = with_little_locked_memory();
  auto command = prefix;
  for (const auto& word :
       Words{daemon_program(), "--spill-dir", (place / "a").native(), "--provider", "verbs"})
    command.push_back(word);
  for (const auto& word : with()) command.push_back(word);
  const auto refused = run(command);
  EXPECT_EQ(refused.status, 1);
  EXPECT_THAT(refused.err, AllOf(HasSubstr("Limit"), HasSubstr("ulimit -l unlimited")));

  Daemon node(place / "b", {.arguments = with(), .prefix = prefix});
  EXPECT_THAT(node.providers(), Not(Contains("verbs")));
  EXPECT_THAT(node.child().err(),
              AllOf(HasSubstr("verbs is left out"), HasSubstr("ulimit -l unlimited")));
  auto client = connect(node);
  EXPECT_TRUE(holds(client, set(client, 1), 1));
}

TEST_F(RdmaClusterTest, ClientWithASmallMemoryLockLimitReadsWithoutRdma) {
  Daemon node(spill_directory("a"), with());
  auto client = connect(node);
  const auto ref = set(client, 1);
  auto command = with_little_locked_memory();
  for (const auto& word : Words{cli_program(), "--node", node.address(), "--provider",
                                "verbs," + best_tcp_provider(), "get", ref.to_string()})
    command.push_back(word);
  const auto got = run(command);
  EXPECT_EQ(got.status, 0) << got.err;
  EXPECT_TRUE(same(bytes_of(got.out), pattern(kMiB, 1)));
  EXPECT_THAT(got.err, AllOf(HasSubstr("no verbs to"), HasSubstr("ulimit -l unlimited")));
}

TEST_F(RdmaClusterTest, ForkedChildDisturbsNothing) {
  Daemon node(spill_directory("a"), with());
  auto client = std::make_unique<Pool>(connect(node));
  const auto ref = set(*client, 1);
  EXPECT_TRUE(holds(*client, ref, 1));
  EXPECT_TRUE(in_child([&] {
    EXPECT_EQ(code(client->poolget(ref)), Code::kForked);
    client.reset();
  }));
  EXPECT_TRUE(holds(*client, ref, 1));
  EXPECT_EQ(gets_by(*client, "rdma (verbs)"), 2U);
}

TEST_F(RdmaClusterTest, DoctorAdvisesTheAddressOfTheDevice) {
  const auto doctor = [&](const Words& more) {
    Words words{cli_program(),   "doctor", "--spill-dir", spill_directory("a").native(),
                "--max-memsize", "16MiB"};
    words.insert(words.end(), more.begin(), more.end());
    return run(words).out;
  };
  const auto advice = "mempoold --listen " + rdma_address() + ":7401 --insecure";
  EXPECT_THAT(doctor({}), HasSubstr(advice));
  EXPECT_THAT(doctor({"--listen", "127.0.0.1:7401"}), HasSubstr("$ " + advice));
}

/// In a network namespace, as a container has one: a device of its own, on a network device of its
/// own. Both go with the namespace.
TEST_F(RdmaClusterTest, DoctorSaysWhySoftRoceIsCutOffInANetworkNamespace) {
  const std::string script =
      "mount -t sysfs sys /sys && ip link set lo up && ip link add mempool_ns type dummy && "
      "ip address add 198.18.78.1/24 dev mempool_ns && ip link set mempool_ns up && "
      "rdma link add mempool_ns type rxe netdev mempool_ns || exit 125; exec \"$@\"";
  const auto in_namespace = [&](const Words& command) {
    Words words{"/usr/bin/unshare", "--mount", "--net", "/bin/sh", "-c", script, "sh"};
    words.insert(words.end(), command.begin(), command.end());
    return run(words);
  };
  if (in_namespace({"/bin/true"}).status != 0)
    GTEST_SKIP() << "SKIPPED: needs root, rdma_rxe, and a second network namespace";
  for (const Words& where : {Words{}, {"--listen", "198.18.78.1:7401"}}) {
    Words command{cli_program(),   "doctor", "--spill-dir", spill_directory("a").native(),
                  "--max-memsize", "16MiB"};
    command.insert(command.end(), where.begin(), where.end());
    const auto ran = in_namespace(command);
    EXPECT_THAT(ran.out, HasSubstr("is ACTIVE, RoCE on mempool_ns"));
    if (ran.out.find("\nfine     provider verbs ") != std::string::npos) continue;  // from 7.2 on
    EXPECT_EQ(ran.status, 1);
    EXPECT_THAT(ran.out, AllOf(HasSubstr("\nproblem  provider verbs "),
                               HasSubstr("in a network namespace of its own"),
                               HasSubstr("needs Linux 7.2"), Not(HasSubstr("fi_info"))));
  }
}

}  // namespace
}  // namespace mempool::test
