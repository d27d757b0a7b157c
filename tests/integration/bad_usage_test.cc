// Wrong flags, sizes, addresses and places: a clear message, the right exit status, nothing left.
#include <csignal>

#include "cluster_fixture.h"

namespace mempool::test {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;

class UsageTest : public ClusterTest {
 protected:
  Ran daemon(const Words& words) const {
    Words all{"--listen", "127.0.0.1:0", "--spill-dir", spill_directory("a").native()};
    all.insert(all.end(), words.begin(), words.end());
    return run_daemon(all);
  }
  /// Status 2: the usage is wrong; the message names the culprit.
  static void expect_usage(const Ran& ran, const std::string& names) {
    EXPECT_EQ(ran.status, 2) << ran.out << ran.err;
    EXPECT_THAT(ran.err, HasSubstr(names));
    EXPECT_THAT(ran.out, IsEmpty());
  }
  /// Status 2, and one line with the code: the library refused what was asked for.
  static void expect_refused(const Ran& ran, const std::string& names) {
    expect_usage(ran, names);
    EXPECT_THAT(ran.err, HasSubstr(": InvalidArgument: "));
  }
  /// Status 1: it was tried and failed; one line with the code.
  static void expect_failure(const Ran& ran, const std::string& code,
                             const std::string& names = "") {
    EXPECT_EQ(ran.status, 1) << ran.out << ran.err;
    EXPECT_THAT(ran.err, AllOf(HasSubstr(": " + code + ": "), HasSubstr(names)));
    EXPECT_THAT(ran.out, IsEmpty());
  }
};

TEST_F(UsageTest, HelpNamesEveryFlag) {
  const auto ran = run_daemon({"--help"});
  EXPECT_EQ(ran.status, 0);
  for (const char* flag :
       {"--listen",    "--join",          "--max-memsize",    "--max-disksize",
        "--spill-dir", "--drop-on-evict", "--policy",         "--cluster",
        "--provider",  "--require-rdma",  "--reread",         "--timeout-ms",
        "--insecure",  "--log-level",     "--read-window-ms", "--quarantine-ms",
        "--config",    "--print-config",  "--version",        "MEMPOOL_MAX_MEMSIZE",
        "lru",         "HOST:PORT"})
    EXPECT_THAT(ran.out, HasSubstr(flag));
  const auto cli = run({cli_program(), "--help"});
  EXPECT_EQ(cli.status, 0);
  for (const char* command :
       {"set", "get", "delete", "move-to-disk", "copy-to-disk", "save-to-disk", "adopt", "prefetch",
        "inspect", "nodes", "stats", "load", "verify", "doctor", "print-config"}) {
    EXPECT_THAT(cli.out, HasSubstr(command));
    const auto own = run({cli_program(), command, "--help"});
    EXPECT_EQ(own.status, 0) << command << own.err;
    EXPECT_THAT(own.out, HasSubstr(command));
  }
}

TEST_F(UsageTest, VersionsAreTheSame) {
  std::string version;
  for (const auto& program : {daemon_program(), cli_program(), torture_program()}) {
    const auto ran = run({program, "--version"});
    EXPECT_EQ(ran.status, 0) << ran.err;
    const auto name = fs::path(program).filename().native();
    EXPECT_THAT(ran.out, ::testing::MatchesRegex(name + " [0-9]+\\.[0-9]+\\.[0-9]+\n"));
    if (version.empty()) version = ran.out.substr(name.size());
    EXPECT_EQ(ran.out, name + version);
  }
}

TEST_F(UsageTest, WrongFlagsOfTheDaemon) {
  expect_usage(run_daemon({}), "--listen");
  expect_usage(run_daemon({"--listen", "", "--spill-dir", spill_directory("a").native()}),
               "--listen is empty");
  expect_usage(daemon({"--no-such-flag"}), "--no-such-flag");
  expect_usage(daemon({"stray"}), "stray");
  expect_usage(daemon({"--policy", "fifo"}), "--policy");
  expect_usage(daemon({"--log-level", "loud"}), "--log-level");
  expect_usage(daemon({"--timeout-ms", "0"}), "--timeout-ms");
  expect_usage(daemon({"--timeout-ms", "soon"}), "--timeout-ms");
  expect_usage(daemon({"--timeout-ms", "-5"}), "--timeout-ms");
  expect_usage(daemon({"--timeout-ms", "99999999999"}), "--timeout-ms");
  expect_usage(daemon({"--max-memsize"}), "--max-memsize");
  EXPECT_FALSE(fs::exists(spill_directory("a")));
}

TEST_F(UsageTest, SizesThatAreNone) {
  for (const char* size : {"-1", "12XB", "", "much", "1.5GiB", "0x10", "99999999999999999999",
                           "99999999999TiB", "18446744073709551615KiB", "1 2", "-1MiB"})
    for (const char* flag : {"--max-memsize", "--max-disksize"})
      expect_usage(daemon({flag, size}), flag);
  expect_refused(daemon({"--max-memsize", "0"}), "--max-memsize is 0");
  expect_refused(daemon({"--max-memsize", "10000000TiB"}), "--max-memsize");
}

TEST_F(UsageTest, AddressesThatAreNone) {
  for (const char* address :
       {"127.0.0.1", ":7700", "127.0.0.1:", "127.0.0.1:70000", "127.0.0.1:-1", "127.0.0.1:port",
        "127.0.0.1:77x", "::1:7700", "[::1:7700", "127.0.0.1: 77"}) {
    const auto ran = run_daemon({"--listen", address, "--spill-dir", spill_directory("a")});
    expect_refused(ran, "HOST:PORT");
    expect_refused(daemon({"--join", address}), "HOST:PORT");
    expect_refused(run_cli(address, {"nodes"}), "HOST:PORT");
  }
  expect_refused(daemon({"--join", ""}), "HOST:PORT");
  EXPECT_FALSE(fs::exists(spill_directory("a")));
}

TEST_F(UsageTest, QuarantineThatIsNoLongerThanTheWindow) {
  expect_refused(daemon({"--quarantine-ms", "100", "--read-window-ms", "100"}),
                 "--quarantine-ms must be larger than --read-window-ms");
  EXPECT_FALSE(fs::exists(spill_directory("a")));
}

TEST_F(UsageTest, HostsThatAreNotHere) {
  // An address of the documentation range is not one of this machine's.
  const auto ran = run_daemon(
      {"--listen", "192.0.2.1:0", "--insecure", "--spill-dir", spill_directory("a").native()});
  EXPECT_EQ(ran.status, 1) << ran.err;
  EXPECT_THAT(ran.err, HasSubstr("192.0.2.1"));
}

TEST_F(UsageTest, OtherThanLoopbackNeedsInsecure) {
  const auto ran = run_daemon({"--listen", "192.0.2.1:0", "--spill-dir", spill_directory("a")});
  expect_failure(ran, "PermissionDenied", "--insecure");
  EXPECT_FALSE(fs::exists(spill_directory("a")));
}

TEST_F(UsageTest, AddressesOfNoHost) {
  for (const char* address : {"0.0.0.0:0", "[::]:0"}) {
    Words words{"--listen", address, "--spill-dir", spill_directory("a")};
    expect_refused(run_daemon(words), "that a peer can connect to");
    words.emplace_back("--insecure");
    expect_refused(run_daemon(words), "that a peer can connect to");
  }
  EXPECT_FALSE(fs::exists(spill_directory("a")));
}

TEST_F(UsageTest, PortInUse) {
  Daemon node(spill_directory("b"));
  const auto ran =
      run_daemon({"--listen", node.address(), "--spill-dir", spill_directory("a").native()});
  expect_failure(ran, "Exists", node.address());
  auto client = connect(node);
  EXPECT_TRUE(holds(client, set(client, 1), 1)) << "the one that was there goes on";
}

TEST_F(UsageTest, ProvidersThatAreNone) {
  for (const std::string name : {"carrier-pigeon", "efa", ""}) {
    expect_usage(daemon({"--provider", name}), "--provider: \"" + name + "\" is none of auto, ");
    expect_usage(run_cli("127.0.0.1:1", {"--provider", name, "nodes"}), "--provider: ");
  }
  expect_usage(daemon({"--provider", "push,nothing"}), "\"nothing\"");
}

TEST_F(UsageTest, ProvidersThatAreNotThere) {
  if (fs::exists("/sys/class/infiniband")) GTEST_SKIP() << "SKIPPED: this machine has RDMA";
  const auto ran = daemon({"--provider", "verbs"});
  expect_failure(ran, "NoProvider", "verbs");
  EXPECT_THAT(ran.err, AllOf(HasSubstr("present here: "), HasSubstr("sockets")));
  Daemon node(spill_directory("b"));
  expect_failure(run_cli(node.address(), {"--provider", "verbs", "nodes"}), "NoProvider",
                 "present here: ");
}

TEST_F(UsageTest, RequiredRdmaThatIsNotThere) {
  if (fs::exists("/sys/class/infiniband")) GTEST_SKIP() << "SKIPPED: this machine has RDMA";
  expect_failure(daemon({"--require-rdma"}), "NoProvider", "RDMA is required");
  Daemon node(spill_directory("b"));
  expect_failure(run_cli(node.address(), {"--require-rdma", "nodes"}), "NoProvider",
                 "RDMA is required");
}

TEST_F(UsageTest, SpillDirectoriesThatCannotBeAreToldAtTheStart) {
  write_file(directory_ / "file", {});
  for (const auto& place : {directory_ / "file", directory_ / "file" / "below"}) {
    Daemon node(place);
    EXPECT_THAT(node.child().err(),
                AllOf(HasSubstr("[warning]"), HasSubstr("spill directory " + place.native()),
                      HasSubstr("is no directory")));
    auto client = connect(node);
    const auto ref = set(client, 1);
    const auto refused = client.movetodisk(ref);
    EXPECT_EQ(code(refused), Code::kInvalidArgument);
    EXPECT_THAT(message(refused), HasSubstr(place.native()));
    EXPECT_TRUE(holds(client, ref, 1));
  }
  Daemon node(spill_directory("fine"));
  EXPECT_THAT(node.child().err(), ::testing::Not(HasSubstr("warning")));
  EXPECT_FALSE(fs::exists(spill_directory("fine"))) << "nothing is spilled yet";
  expect_usage(run_daemon({"--listen", "127.0.0.1:0", "--spill-dir", ""}),
               "--spill-dir: it is empty");
}

TEST_F(UsageTest, SpillDirectoryWithoutPermission) {
  if (::geteuid() == 0 && !fs::exists("/usr/bin/setpriv"))
    GTEST_SKIP() << "SKIPPED: root may write everywhere, and there is no setpriv";
  const auto place = spill_directory("closed");
  fs::create_directories(place);
  fs::permissions(place, fs::perms::owner_read | fs::perms::owner_exec);
  fs::permissions(directory_.path(), fs::perms::all);
  Words prefix;
  if (::geteuid() == 0)
    prefix = {"/usr/bin/setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"};
  Words probe = prefix;
  probe.insert(probe.end(), {daemon_program(), "--version"});
  if (const auto ran = run(probe); ran.status != 0)
    GTEST_SKIP() << "SKIPPED: another user cannot be taken here: " << ran.err;
  Daemon node(place / "below", Daemon::Options{.prefix = prefix});
  EXPECT_THAT(node.child().err(), AllOf(HasSubstr("[warning]"), HasSubstr(place.native()),
                                        HasSubstr("Permission denied")));
  auto client = connect(node);
  const auto refused = client.movetodisk(set(client, 1));
  EXPECT_EQ(code(refused), Code::kPermissionDenied);
  EXPECT_THAT(message(refused),
              AllOf(HasSubstr((place / "below").native()), HasSubstr("Permission denied")));
}

TEST_F(UsageTest, NoSpillDirectoryIsWanted) {
  Daemon node("none", Daemon::Options{.arguments = {"--drop-on-evict"},
                                      .max_memsize = "2MiB",
                                      .child = {.directory = directory_.path().native()}});
  EXPECT_THAT(node.child().err(), ::testing::Not(HasSubstr("warning")));
  auto client = connect(node);
  const auto first = set(client, 1);
  const auto refused = client.movetodisk(first);
  EXPECT_EQ(code(refused), Code::kUnsupported);
  EXPECT_THAT(message(refused), HasSubstr("there is no spill directory"));
  for (std::uint64_t seed = 2; seed < 8; ++seed) set(client, seed);
  EXPECT_EQ(code(client.poolget(first)), Code::kNotFound);
  EXPECT_EQ(code(client.poolset(pattern(3 * kMiB))), Code::kNoSpace);
  EXPECT_EQ(directory_.entries(), 0U);
}

TEST_F(UsageTest, WrongUsageOfTheClient) {
  expect_usage(run({cli_program()}), "SUBCOMMAND");
  expect_usage(run({cli_program(), "nodes"}, {.environment = {"MEMPOOL_NODE="}}), "--node");
  expect_usage(run_cli("", {"nodes"}), "MEMPOOL_NODE");
  expect_usage(run({cli_program(), "fly"}), "fly is no subcommand");
  expect_usage(run_cli("127.0.0.1:1", {"fly", "away"}), "fly is no subcommand");
  expect_usage(run_cli("127.0.0.1:1", {"--fly"}), "--fly is no subcommand and no flag");
  expect_usage(run_cli("127.0.0.1:1", {"fly", "nodes"}), "fly");
  expect_usage(run_cli("127.0.0.1:1", {}), "subcommand");
  expect_usage(run_cli("127.0.0.1:1", {"get"}), "REF");
  expect_usage(run_cli("127.0.0.1:1", {"set"}), "FILE");
  expect_usage(run_cli("127.0.0.1:1", {"delete"}), "REF");
  expect_usage(run_cli("127.0.0.1:1", {"save-to-disk", "x"}), "PATH");
  expect_usage(run_cli("127.0.0.1:1", {"get", "x", "--no-such-flag"}), "--no-such-flag");
  expect_usage(run_cli("127.0.0.1:1", {"nodes", "--timeout-ms", "0"}), "--timeout-ms");
}

TEST_F(UsageTest, WrongUsageOfTorture) {
  const auto torture = [](Words words) {
    words.insert(words.begin(), torture_program());
    return run(words);
  };
  expect_usage(torture({"--path", "foo"}), "--path: \"foo\" is none of ");
  expect_usage(torture({"--smallest", "0"}), "--smallest");
  expect_usage(torture({"--smallest", "2", "--largest", "1"}), "--largest");
  expect_usage(torture({"--owners", "1000"}), "owners");
  expect_usage(torture({"--max-memsize", "0"}), "--max-memsize");
  expect_usage(torture({"--quarantine-ms", "5", "--read-window-ms", "5"}), "--quarantine-ms");
  expect_usage(torture({"--json", "--path", "push", "--host", "nowhere"}), "--host");
}

TEST_F(UsageTest, TortureIsWhatItsFlagsSay) {
  write_file(directory_ / "node.toml", bytes_of("listen = '127.0.0.1:0'\n"));
  const auto ran = run({torture_program(), "--smallest", "0"},
                       {.environment = {"MEMPOOL_CONFIG=" + (directory_ / "node.toml").native(),
                                        "MEMPOOL_MAX_MEMSIZE=much", "MEMPOOL_SMALLEST=1"}});
  expect_usage(ran, "--smallest must be");
}

TEST_F(UsageTest, NobodyThere) {
  const auto address = "127.0.0.1:" + std::to_string(fixed_port());
  expect_failure(run_cli(address, {"nodes"}), "Unavailable", address);
  const auto begin = Clock::now();
  const auto ran = run_cli("no-such-host.invalid:7700", {"--timeout-ms", "2000", "nodes"});
  EXPECT_EQ(ran.status, 1);
  EXPECT_THAT(ran.err, HasSubstr("no-such-host.invalid"));
  EXPECT_LT(Clock::now() - begin, kPatience);
}

TEST_F(UsageTest, BothSignalsEndTheDaemonCleanly) {
  for (int number : {SIGTERM, SIGINT}) {
    Daemon node(spill_directory("a"));
    node.child().signal(number);
    EXPECT_EQ(node.child().wait(), (Ended{0, 0})) << node.child().err();
    node.stop();
  }
}

TEST_F(UsageTest, UnitsOfSizes) {
  const auto limit = [&](const char* size) {
    Daemon node(spill_directory("a"), {.max_memsize = size});
    auto client = connect(node);
    return store_stats(client).max_memsize;
  };
  EXPECT_EQ(limit("123456"), 123'456U);
  EXPECT_EQ(limit("2MiB"), 2 * kMiB);
  EXPECT_EQ(limit("3MB"), 3'000'000U);
  EXPECT_EQ(limit("5kb"), 5'000U);
}

TEST_F(UsageTest, PolicyIsTaken) {
  Daemon node(spill_directory("a"), {.arguments = {"--policy", "mru"}, .max_memsize = "3MiB"});
  auto client = connect(node);
  const auto a = set(client, 1), b = set(client, 2), c = set(client, 3);
  set(client, 4);
  EXPECT_THAT(where_are(client, {a, b, c}), ::testing::ElementsAre("memory", "memory", "disk"));
}

TEST_F(UsageTest, LoopbackByOtherNames) {
  for (const char* listen : {"localhost:0", "[::1]:0"}) {
    if (listen[0] == '[' && !fs::exists("/proc/net/if_inet6")) continue;
    Daemon node(spill_directory("a"), {.listen = listen});
    auto client = connect(node);
    const auto ref = set(client, 1);
    EXPECT_TRUE(holds(client, ref, 1)) << listen;
  }
}

}  // namespace
}  // namespace mempool::test
