// Flags, environment and configuration file: one name a setting, one precedence, clear errors.
#include <csignal>

#include <sys/resource.h>

#include "cluster_fixture.h"

namespace mempool::test {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::StartsWith;

class ConfigurationTest : public ClusterTest {
 protected:
  std::string file(const std::string& text, const std::string& name = "node.toml") const {
    const auto path = directory_ / name;
    write_file(path, std::as_bytes(std::span(text)));
    return path.native();
  }
  /// What `mempoold words... --print-config` prints.
  std::string printed(Words words, const Words& environment = {}) const {
    words.emplace_back("--print-config");
    const auto ran = run_daemon(words, {.environment = environment});
    EXPECT_EQ(ran.status, 0) << ran.err;
    EXPECT_THAT(ran.err, IsEmpty());
    return ran.out;
  }
  /// Status 2, and one line that says all of it.
  static void expect_misused(const Ran& ran, const std::string& begin, const std::string& reason) {
    EXPECT_EQ(ran.status, 2) << ran.out << ran.err;
    EXPECT_THAT(ran.out, IsEmpty());
    EXPECT_THAT(ran.err, AllOf(StartsWith("mempoold: " + begin), HasSubstr(reason)));
    EXPECT_EQ(std::ranges::count(ran.err, '\n'), 1) << ran.err;
  }
  /// A file with this text is refused for this reason in this line.
  void expect_refused(const std::string& text, int line, const std::string& reason) const {
    const auto path = file(text);
    expect_misused(run_daemon({"--config", path, "--print-config"}),
                   path + ":" + std::to_string(line) + ": ", reason);
  }
};

TEST_F(ConfigurationTest, DefaultsAreNamedAsSuch) {
  const auto out = printed({});
  EXPECT_THAT(out, AllOf(HasSubstr("\nmax-memsize = \"1GiB\"  # default\n"),
                         HasSubstr("\nmax-disksize = 0  # default\n"),
                         HasSubstr("\nspill-dir = \".mempool\"  # default\n"),
                         HasSubstr("\njoin = []  # default\n")));
}

TEST_F(ConfigurationTest, AFlagGoesBeforeTheEnvironmentThatBeforeTheFile) {
  const auto path = file("cluster = 'of the file'\ntimeout-ms = 1\nread-window-ms = 2\n");
  const auto out = printed({"--config", path, "--cluster", "of the flag"},
                           {"MEMPOOL_CLUSTER=of the environment", "MEMPOOL_TIMEOUT_MS=3"});
  EXPECT_THAT(out, AllOf(HasSubstr("\ncluster = \"of the flag\"  # flag --cluster\n"),
                         HasSubstr("\ntimeout-ms = 3  # environment MEMPOOL_TIMEOUT_MS\n"),
                         HasSubstr("\nread-window-ms = 2  # " + path + ":3\n"),
                         HasSubstr("\nquarantine-ms = 1000  # default\n")));
}

TEST_F(ConfigurationTest, WhatIsPrintedGivesTheSameAgain) {
  // Every setting, with a value that is not its default.
  const Words words{"--listen",
                    "127.0.0.1:0",
                    "--join",
                    "a:1",
                    "--join",
                    "b:2,c:3",
                    "--max-memsize",
                    "18446744073709551615",
                    "--max-disksize",
                    "3MB",
                    "--spill-dir",
                    "a \"dir\"\\\twith\n'all' \xC3\xA4 # =",
                    "--drop-on-evict",
                    "--policy",
                    "mru",
                    "--cluster",
                    "two\nlines",
                    "--provider",
                    "sockets,tcp",
                    "--require-rdma",
                    "--reread",
                    "--timeout-ms",
                    "4294967295",
                    "--insecure",
                    "--read-window-ms",
                    "0",
                    "--quarantine-ms",
                    "7",
                    "--log-level",
                    "debug"};
  const auto values = [](std::string text) {
    std::string kept;
    for (std::istringstream in(text); std::getline(in, text);)
      if (!text.starts_with('#')) kept += text.substr(0, text.rfind("  # ")) + "\n";
    return kept;
  };
  const auto first = printed(words);
  EXPECT_THAT(first, Not(HasSubstr("# default")));
  EXPECT_THAT(first, AllOf(HasSubstr("join = [\"a:1\", \"b:2\", \"c:3\"]"),
                           HasSubstr("max-disksize = 3000000 "), HasSubstr("insecure = true")));
  const auto second = printed({"--config", file(first)});
  EXPECT_EQ(values(second), values(first));
  EXPECT_THAT(second, Not(HasSubstr("# flag")));
  // What TOML cannot say is not printed as something else.
  const auto ran = run_daemon({"--spill-dir", "\xFF", "--print-config"});
  EXPECT_EQ(ran.status, 1);
  EXPECT_THAT(ran.err, HasSubstr("spill-dir"));
  EXPECT_THAT(ran.out, IsEmpty());
}

TEST_F(ConfigurationTest, FlagsMayBeTakenBack) {
  const auto path = file("insecure = true\nrequire-rdma = true\n");
  const auto out = printed({"--config", path, "--no-insecure"}, {"MEMPOOL_REQUIRE_RDMA=off"});
  EXPECT_THAT(out, AllOf(HasSubstr("\ninsecure = false  # flag --insecure\n"),
                         HasSubstr("\nrequire-rdma = false  # environment MEMPOOL_REQUIRE_RDMA")));
}

TEST_F(ConfigurationTest, OfContradictingFlagsTheLastOneCounts) {
  EXPECT_THAT(printed({"--insecure", "--no-insecure"}), HasSubstr("\ninsecure = false  # flag"));
  EXPECT_THAT(printed({"--no-insecure", "--insecure"}), HasSubstr("\ninsecure = true  # flag"));
}

TEST_F(ConfigurationTest, ANodeUsesIt) {
  const auto path =
      file("# a node\nlisten = '127.0.0.1:0'\nmax-memsize = '2MiB'\nlog-level='off'\n");
  Child node({daemon_program()},
             {.environment = {"MEMPOOL_CONFIG=" + path,
                              "MEMPOOL_SPILL_DIR=" + spill_directory("a").native(),
                              "MEMPOOL_PROVIDER=sockets"}});
  ASSERT_TRUE(eventually([&] { return node.out().ends_with('\n') || !node.running(); }));
  ASSERT_THAT(node.out(), AllOf(StartsWith("ready 127.0.0.1:"), HasSubstr("providers=sockets\n")))
      << node.err();
  const auto address = node.out().substr(6, node.out().find(' ', 6) - 6);
  // The same file serves the client, which has no use for most of it.
  const auto ran =
      run({cli_program(), "--config", path, "stats"}, {.environment = {"MEMPOOL_NODE=" + address}});
  EXPECT_EQ(ran.status, 0) << ran.err;
  EXPECT_THAT(ran.out, HasSubstr("2097152"));
  const auto client =
      run({cli_program(), "--config", file("node = '" + address + "'\n", "c.toml"), "nodes"});
  EXPECT_THAT(client.out, HasSubstr(address)) << client.err;
  auto pool = must(Pool::connect(address));
  EXPECT_THAT(must(pool.copytodisk(set(pool, 1))).path, StartsWith(spill_directory("a").native()));
  node.signal(SIGTERM);
  EXPECT_EQ(node.wait(), (Ended{0, 0}));
}

TEST_F(ConfigurationTest, NoSpillDirectoryHasAWord) {
  const auto none = "\nspill-dir = \"none\"  # ";
  EXPECT_THAT(printed({"--spill-dir", "none"}), HasSubstr(none + std::string("flag --spill-dir")));
  EXPECT_THAT(printed({}, {"MEMPOOL_SPILL_DIR=none"}), HasSubstr(none));
  const auto path = file(printed({"--spill-dir", "none"}));
  EXPECT_THAT(printed({"--config", path}), HasSubstr(none + path));
  // A directory of that name is another one, and so is what nobody said.
  EXPECT_THAT(printed({"--spill-dir", "./none"}), HasSubstr("spill-dir = \"./none\""));
  EXPECT_THAT(printed({}, {"MEMPOOL_SPILL_DIR="}), HasSubstr("spill-dir = \".mempool\""));
  expect_misused(run_daemon({"--spill-dir", ""}), "--spill-dir: ", "say a directory, or none");
  expect_refused("spill-dir = ''\n", 1, "say a directory, or none");
}

TEST_F(ConfigurationTest, TheClientPrintsItsOwnToo) {
  const auto ran = run({cli_program(), "--cluster", "mine", "print-config"},
                       {.environment = {"MEMPOOL_NODE=h:1"}});
  EXPECT_EQ(ran.status, 0) << ran.err;
  EXPECT_THAT(ran.out, AllOf(HasSubstr("\nnode = \"h:1\"  # environment MEMPOOL_NODE\n"),
                             HasSubstr("\ncluster = \"mine\"  # flag --cluster\n")));
}

TEST_F(ConfigurationTest, MistakesInTheFileAreNamedByLineAndKey) {
  expect_refused("\n\nmaxmemsize = 1\n", 3, "unknown key \"maxmemsize\"; known are node, listen");
  expect_refused("max_memsize = 1\n", 1, "unknown key \"max_memsize\"; say max-memsize");
  expect_refused("[limits]\nlisten = 'a:1'\n", 1, "unknown key \"limits\"");
  expect_refused("# one\ntimeout-ms = '5'\n", 2, "timeout-ms is an integer, not a text");
  expect_refused("timeout-ms = 0\n", 1, "timeout-ms: \"0\"");
  expect_refused("timeout-ms = 4294967296\n", 1, "timeout-ms: \"4294967296\"");
  expect_refused("timeout-ms = -1\n", 1, "timeout-ms: \"-1\"");
  expect_refused("timeout-ms = 1.5\n", 1, "timeout-ms is an integer");
  expect_refused("max-memsize = '12XB'\n", 1, "max-memsize: \"12XB\" is no size");
  expect_refused("max-memsize = -1\n", 1, "max-memsize: \"-1\" is no size");
  expect_refused("max-memsize = true\n", 1, "max-memsize is a text in quotes or an integer");
  expect_refused("insecure = 1\n", 1, "insecure is true or false, not an integer");
  expect_refused("listen = ['a:1']\n", 1, "listen is a text in quotes, not a list");
  expect_refused("join = [1]\n", 1, "join is a list of texts");
  expect_refused("policy = 'fifo'\n", 1, "policy: \"fifo\" is none of lru, mru");
  expect_refused("policy = 'lru'\npolicy = 'mru'\n", 2, "policy");
  expect_refused("cluster = 'a\n", 1, "");
  expect_refused("cluster\n", 1, "");
  expect_refused("cluster = \"\xFF\"\n", 1, "");
  expect_refused("cluster = 'a'\nzz = 1\naa = 2\n", 2,
                 "zz");  // the first mistake, not the smallest
}

TEST_F(ConfigurationTest, FilesThatCannotBeRead) {
  const auto config = [&](const std::string& path) { return run_daemon({"--config", path}); };
  const auto missing = (directory_ / "missing.toml").native();
  expect_misused(config(missing), "configuration " + missing, "No such file");
  expect_misused(config(directory_.path().native()), "configuration ", "Is a directory");
  expect_misused(config(""), "configuration ", "No such file");
  expect_misused(config("/dev/zero"), "/dev/zero", "1 MiB");
  expect_misused(run_daemon({}, {.environment = {"MEMPOOL_CONFIG=" + missing}}),
                 "configuration " + missing, "No such file");
  // Help needs no file.
  EXPECT_EQ(run_daemon({"--config", missing, "--help"}).status, 0);
}

TEST_F(ConfigurationTest, FilesWithoutPermission) {
  const auto path = file("cluster = 'a'\n");
  fs::permissions(path, fs::perms::none);
  fs::permissions(directory_.path(), fs::perms::all);
  Words command{daemon_program(), "--config", path};
  if (::geteuid() == 0) {
    if (!fs::exists("/usr/bin/setpriv"))
      GTEST_SKIP() << "SKIPPED: root may read everything, and there is no setpriv";
    command.insert(command.begin(),
                   {"/usr/bin/setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"});
  }
  const auto ran = run(command);
  if (ran.err.find("setpriv") != std::string::npos || ran.status == 127 ||
      ran.err.find("error while loading") != std::string::npos)
    GTEST_SKIP() << "SKIPPED: another user cannot be taken here: " << ran.err;
  expect_misused(ran, "configuration " + path, "Permission denied");
}

TEST_F(ConfigurationTest, MistakesInTheEnvironment) {
  const auto with = [](const char* variable) {
    return run_daemon({}, {.environment = {variable}});
  };
  expect_misused(with("MEMPOOL_MAX_MEMSIZE=lots"), "environment MEMPOOL_MAX_MEMSIZE: ", "lots");
  expect_misused(with("MEMPOOL_TIMEOUT_MS=0"), "environment MEMPOOL_TIMEOUT_MS: ", "from 1");
  expect_misused(with("MEMPOOL_INSECURE=maybe"), "environment MEMPOOL_INSECURE: ", "maybe");
  expect_misused(with("MEMPOOL_POLICY=fifo"), "environment MEMPOOL_POLICY: ", "lru, mru");
  // Empty is none; what is no setting may be anybody's.
  EXPECT_THAT(printed({}, {"MEMPOOL_POLICY=", "MEMPOOL_SERVICE_HOST=x"}),
              HasSubstr("policy = \"lru\"  # default"));
}

TEST_F(ConfigurationTest, TestsDoNotSeeTheUsersOwn) {
  ::setenv("MEMPOOL_CLUSTER", "the user's", 1);
  const auto out = printed({});
  ::unsetenv("MEMPOOL_CLUSTER");
  EXPECT_THAT(out, Not(HasSubstr("the user's")));
}

TEST_F(ConfigurationTest, NowhereToServe) {
  expect_misused(run_daemon({}), "where to serve?", "--listen HOST:PORT");
  expect_misused(run_daemon({"--config", file("cluster = 'a'\n")}), "where to serve?", "listen");
}

}  // namespace
}  // namespace mempool::test
