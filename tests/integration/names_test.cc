// Nodes that are known by a name: what it stands for on their machine is said, and warned of where
// peers elsewhere would look for another address.
#include "cluster_fixture.h"

namespace mempool::test {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::MatchesRegex;
using ::testing::Not;
using ::testing::StartsWith;

/// Programs for whom /etc/hosts has a name of this machine, as the installation of a system writes
/// it.
class NamesTest : public ClusterTest {
 protected:
  void SetUp() override {
    const std::string hosts = "127.0.0.1 localhost\n127.0.1.1 mempool-own-name\n";
    write_file(directory_ / "hosts", std::as_bytes(std::span(hosts)));
    for (const Words& unshare : {Words{"/usr/bin/unshare", "--mount"},
                                 {"/usr/bin/unshare", "--map-root-user", "--mount"}}) {
      prefix_ = unshare;
      for (const auto& word :
           Words{"/bin/sh", "-c", "mount --bind \"$0\" /etc/hosts && exec \"$@\"",
                 (directory_ / "hosts").native()})
        prefix_.push_back(word);
      if (run(here({"/bin/true"})).status == 0) return;
    }
    GTEST_SKIP() << "SKIPPED: nothing can be mounted here, and so /etc/hosts is what it is";
  }

  Words here(const Words& command) const {
    Words words = prefix_;
    words.insert(words.end(), command.begin(), command.end());
    return words;
  }
  Daemon::Options own_name(const Words& more = {}) const {
    return {.arguments = more, .prefix = prefix_, .listen = "mempool-own-name:0"};
  }
  static std::string bound_of(const Daemon& node) {
    return "127.0.1.1:" + std::to_string(node.port());
  }

  Words prefix_;
};

TEST_F(NamesTest, OwnNameThatIsLoopbackHereIsWarnedOf) {
  for (const Words& insecure : {Words{"--insecure"}, {}}) {
    Daemon node(spill_directory("a"), own_name(insecure));
    EXPECT_THAT(node.address(), StartsWith("mempool-own-name:"));
    EXPECT_THAT(node.child().out(), StartsWith("ready " + node.address() + " (127.0.1.1) node="));
    EXPECT_THAT(node.child().err(),
                AllOf(HasSubstr("mempool-own-name is 127.0.1.1"),
                      HasSubstr("peers on other hosts are refused"), HasSubstr("/etc/hosts")));
    const auto nodes = run_cli(bound_of(node), {"nodes"});
    EXPECT_EQ(nodes.status, 0) << nodes.err;
    EXPECT_THAT(run_cli(bound_of(node), {"nodes", "--json"}).out,
                HasSubstr("\"bound\": \"127.0.1.1\""));
  }
}

TEST_F(NamesTest, PeersOfTheSameHostReadByIt) {
  Daemon a(spill_directory("a"), own_name());
  Daemon b(spill_directory("b"), own_name({"--join", a.address()}));
  const auto both_up = [&] {
    const auto text = run(here({cli_program(), "--node", a.address(), "nodes"})).out;
    const auto line = [](const Daemon& node) {
      return node.node() + "  " + node.address() + " (127.0.1.1)  up ";
    };
    return text.find(line(a)) != std::string::npos && text.find(line(b)) != std::string::npos;
  };
  EXPECT_TRUE(eventually(both_up));
  const auto file = directory_ / "file";
  write_file(file, pattern(kMiB, 1));
  const auto command = [&](const Words& words) {
    Words all{cli_program(), "--node", a.address(), "--provider", best_tcp_provider()};
    all.insert(all.end(), words.begin(), words.end());
    return run(here(all));
  };
  const auto set = command({"set", file.native(), "--on", b.address()});
  ASSERT_EQ(set.status, 0) << set.err;
  const auto ref = set.out.substr(0, set.out.find('\n'));
  EXPECT_THAT(command({"inspect", ref}).out, HasSubstr("tcp (" + best_tcp_provider() + ")"));
  const auto got = command({"get", ref});
  EXPECT_EQ(got.status, 0) << got.err;
  EXPECT_TRUE(same(bytes_of(got.out), pattern(kMiB, 1)));
}

TEST_F(NamesTest, DoctorSaysSo) {
  const auto ran = run(here({cli_program(), "doctor", "--spill-dir", spill_directory("a").native(),
                             "--max-memsize", "64MiB", "--listen", "mempool-own-name:7401"}));
  EXPECT_THAT(ran.out, AllOf(HasSubstr("\nwarning  listen "),
                             HasSubstr("mempool-own-name is 127.0.1.1 on this machine"),
                             HasSubstr("$ mempoold --listen ")));
}

class NumbersTest : public ClusterTest {};

TEST_F(NumbersTest, LocalhostSaysItselfWhereItIs) {
  Daemon node(spill_directory("a"), {"--listen", "localhost:0", "--insecure"});
  EXPECT_THAT(node.child().out(), MatchesRegex("ready localhost:[0-9]+ \\([0-9.:]+\\) node=.*\n"));
  EXPECT_THAT(node.child().err(), Not(HasSubstr("other hosts")));
  auto client = connect(node);
  EXPECT_TRUE(holds(client, set(client, 1), 1));
}

TEST_F(NumbersTest, AreSaidOnce) {
  Daemon node(spill_directory("a"), {"--insecure"});
  EXPECT_THAT(node.child().out(), MatchesRegex("ready 127.0.0.1:[0-9]+ node=[0-9a-f]+ .*\n"));
  EXPECT_THAT(node.child().err(), Not(HasSubstr("other hosts")));
  EXPECT_THAT(run_cli(node.address(), {"nodes"}).out, HasSubstr(node.address() + "  up "));
}

/// "0" is 0.0.0.0, at which nobody finds a node.
TEST_F(NumbersTest, EveryAddressIsNone) {
  for (const char* every : {"0:0", "0.0.0.0:0", "[::]:0"}) {
    const auto refused = run_daemon({"--listen", every, "--insecure", "--max-memsize", "16MiB",
                                     "--spill-dir", spill_directory("a").native()});
    EXPECT_EQ(refused.status, 2) << every;
    EXPECT_THAT(refused.err, HasSubstr("no address that a peer can connect to")) << every;
  }
}

TEST_F(NumbersTest, AnAddressOfAnotherMachineIsAFindingOfTheDoctor) {
  const auto ran =
      run({cli_program(), "doctor", "--spill-dir", spill_directory("a").native(), "--max-memsize",
           "16MiB", "--provider", "push", "--listen", "203.0.113.1:7401"});
  EXPECT_EQ(ran.status, 1);
  EXPECT_THAT(ran.out,
              HasSubstr("\nproblem  listen             203.0.113.1:7401 is no address of"));
}

TEST_F(NumbersTest, ANameThatNobodyKnowsIsRefused) {
  const auto refused =
      run_daemon({"--listen", "no-such-host.invalid:0", "--insecure", "--max-memsize", "16MiB",
                  "--spill-dir", spill_directory("a").native()});
  EXPECT_NE(refused.status, 0);
  EXPECT_THAT(refused.err, HasSubstr("no address of \"no-such-host.invalid\""));
}

}  // namespace
}  // namespace mempool::test
