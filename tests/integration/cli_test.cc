// The command line: what every command does, prints and returns.
#include <algorithm>
#include <csignal>

#include <nlohmann/json.hpp>
#include <sys/stat.h>

#include "cluster_fixture.h"

namespace mempool::test {
namespace {

using nlohmann::json;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::MatchesRegex;
using ::testing::StartsWith;

class CliTest : public ClusterTest {
 protected:
  CliTest() { write_file(directory_ / "in", pattern(100'000, 1)); }

  Ran cli(const Words& words, const ChildOptions& options = {}) const {
    return run_cli(node_.address(), words, options);
  }
  /// What a command that must succeed printed, without the newline.
  std::string done(const Words& words, const ChildOptions& options = {}) const {
    const auto ran = cli(words, options);
    EXPECT_EQ(ran.status, 0) << words[0] << ": " << ran.err;
    EXPECT_THAT(ran.err, IsEmpty());
    return last_line(ran.out);
  }
  json done_json(Words words) const {
    words.push_back("--json");
    const auto ran = cli(words);
    EXPECT_EQ(ran.status, 0) << ran.err;
    return json::parse(ran.out);
  }
  /// Status 1, nothing on standard output, one line with the code on standard error.
  void expect_failure(const Words& words, const std::string& code) const {
    const auto ran = cli(words);
    EXPECT_EQ(ran.status, 1) << words[0] << ": " << ran.out << ran.err;
    EXPECT_THAT(ran.out, IsEmpty());
    EXPECT_THAT(ran.err, StartsWith("mempool: " + code + ": ")) << words[0];
  }
  std::string input() const { return (directory_ / "in").native(); }
  std::string output() const { return (directory_ / "out").native(); }
  Bytes written() const { return read_file(directory_ / "out"); }

  Daemon node_{spill_directory("a")};
};

TEST_F(CliTest, SetPrintsAReferenceAndGetWritesTheBytes) {
  const auto ran = cli({"set", input()});
  EXPECT_EQ(ran.status, 0) << ran.err;
  EXPECT_THAT(ran.out, MatchesRegex("dref1[0-9a-f]+\n"));
  const auto ref = last_line(ran.out);
  const auto got = cli({"get", ref});
  EXPECT_EQ(got.status, 0) << got.err;
  EXPECT_TRUE(same(bytes_of(got.out), pattern(100'000, 1)));
  EXPECT_EQ(done({"get", ref, "-o", output()}), "");
  EXPECT_TRUE(same(written(), pattern(100'000, 1)));
  EXPECT_EQ(done({"get", ref, "--output", output()}), "") << "an existing file is replaced";
  EXPECT_EQ(cli({"get", ref, "-o", "-"}).out, got.out);
}

TEST_F(CliTest, SetReadsStandardInput) {
  for (std::size_t size : {std::size_t{0}, std::size_t{1}, std::size_t{3'000'000}}) {
    const auto ref = done({"set", "-"}, {.input = pattern(size, size)});
    EXPECT_TRUE(same(bytes_of(cli({"get", ref}).out), pattern(size, size))) << size;
  }
  // A pipe, too.
  const auto piped = run({"/bin/sh", "-c", "cat \"$3\" | \"$0\" --node \"$1\" \"$2\" -",
                          cli_program(), node_.address(), "set", input()});
  EXPECT_EQ(piped.status, 0) << piped.err;
  EXPECT_TRUE(same(bytes_of(cli({"get", last_line(piped.out)}).out), pattern(100'000, 1)));
}

TEST_F(CliTest, FilesWithoutASizeAreStoredWhole) {
  const auto version = read_file("/proc/version");
  const auto ref = done({"set", "/proc/version"});
  EXPECT_TRUE(same(bytes_of(cli({"get", ref}).out), version));
  EXPECT_EQ(done_json({"inspect", ref})["bytes"], version.size());
  // Also of a whole directory.
  const auto loaded = cli({"load", "/proc/self/net/dev_snmp6"});
  if (!fs::exists("/proc/self/net/dev_snmp6/lo")) GTEST_SKIP() << "SKIPPED: there is no IPv6 here";
  EXPECT_EQ(loaded.status, 0) << loaded.err;
  EXPECT_THAT(loaded.out, HasSubstr("/lo\t"));
  EXPECT_THAT(loaded.out, ::testing::Not(HasSubstr("\t0\t")));
}

TEST_F(CliTest, AFileThatShrinksWhileItIsStoredIsNotStored) {
  Daemon other(spill_directory("b"), {"--join", node_.address()});
  ASSERT_TRUE(eventually([&] { return done_json({"nodes"}).size() == 2; }));
  const auto path = directory_ / "shrinking";
  for (const std::string command : {"set", "load"}) {
    fs::create_directories(path);
    write_file(path / "file", pattern(4 * kMiB));
    other.pause();
    Child client({cli_program(), "--node", node_.address(), command, "--on", other.address(),
                  (command == "set" ? path / "file" : path).native()});
    const auto maps = "/proc/" + std::to_string(client.pid()) + "/maps";
    const auto maps_it = [&] {
      return text_of(read_file(maps)).find((path / "file").native()) != std::string::npos;
    };
    EXPECT_TRUE(eventually(maps_it)) << client.err();
    fs::resize_file(path / "file", 1000);
    other.resume();
    const auto ended = client.wait();
    EXPECT_EQ(ended, (Ended{1, 0})) << client.err();
    EXPECT_THAT(client.err(), HasSubstr("was cut off to 1000 bytes")) << command;
    EXPECT_THAT(client.out(), IsEmpty());
    EXPECT_EQ(done_json({"stats", "--on", other.address()})["blobs"], 0);
  }
}

TEST_F(CliTest, OutOfInodesIsNotOutOfSpace) {
  const auto disk = SmallDisk::mount(directory_ / "disk", 64 * kMiB, /*inodes=*/2);
  if (!disk) GTEST_SKIP() << "SKIPPED: nothing can be mounted here";
  const auto place = directory_ / "disk";
  write_file(place / "filler", {});
  const auto ref = done({"set", input()});
  const auto says_so = [&](const Words& words) {
    const auto ran = cli(words, {.environment = {"TMPDIR=" + place.native()}, .input = pattern(9)});
    EXPECT_EQ(ran.status, 1) << words[0];
    EXPECT_THAT(ran.err, AllOf(StartsWith("mempool: NoSpace: "), HasSubstr("no inodes left")))
        << words[0];
  };
  says_so({"set", "-"});
  says_so({"get", ref, "-o", (place / "out").native()});
  says_so({"save-to-disk", ref, (place / "out").native()});
  Daemon node(place / "spill");
  auto client = connect(node);
  const auto refused = client.copytodisk(set(client, 1));
  EXPECT_EQ(code(refused), Code::kNoSpace);
  EXPECT_THAT(message(refused), HasSubstr("no inodes left"));
}

TEST_F(CliTest, StandardInputIsKeptWhereTMPDIRSays) {
  const auto with = [&](const fs::path& place) {
    return cli({"set", "-"}, {.environment = {"TMPDIR=" + place.native()}, .input = pattern(100)});
  };
  EXPECT_EQ(with(directory_.path()).status, 0);
  const auto ran = with(directory_ / "none");
  EXPECT_EQ(ran.status, 1);
  EXPECT_THAT(ran.err, AllOf(StartsWith("mempool: "), HasSubstr("TMPDIR")));
  const auto disk = SmallDisk::mount(directory_ / "disk", kMiB);
  if (!disk) GTEST_SKIP() << "SKIPPED: nothing can be mounted here";
  const auto full = cli({"set", "-"}, {.environment = {"TMPDIR=" + (directory_ / "disk").native()},
                                       .input = pattern(2 * kMiB)});
  EXPECT_EQ(full.status, 1);
  EXPECT_THAT(full.err, StartsWith("mempool: NoSpace: "));
}

TEST_F(CliTest, FailedGetLeavesNoFile) {
  const auto ref = done({"set", input()});
  done({"delete", ref});
  expect_failure({"get", ref, "-o", output()}, "NotFound");
  EXPECT_FALSE(fs::exists(output()));
  for (const auto& file : files_below(directory_.path()))
    EXPECT_THAT(file.filename().native(), ::testing::Not(StartsWith("out")));
  write_file(output(), bytes_of("before"));
  expect_failure({"get", ref, "-o", output()}, "NotFound");
  EXPECT_EQ(text_of(written()), "before");
  expect_failure({"get", done({"set", input()}), "-o", (directory_ / "no" / "out").native()},
                 "NotFound");
  // Standard output that takes nothing is an error, too.
  const auto full = run({"/bin/sh", "-c", "exec \"$0\" \"$@\" > /dev/full", cli_program(), "--node",
                         node_.address(), "get", done({"set", input()})});
  EXPECT_EQ(full.status, 1);
  EXPECT_THAT(full.err, StartsWith("mempool: NoSpace: standard output: "));
}

TEST_F(CliTest, GetKeepsWhatAFileIs) {
  const auto ref = done({"set", input()});
  write_file(output(), bytes_of("before"));
  fs::permissions(output(), fs::perms::owner_read | fs::perms::owner_write);
  const auto link = directory_ / "link";
  fs::create_symlink("out", link);
  done({"get", ref, "-o", link.native()});
  EXPECT_TRUE(fs::is_symlink(link));
  EXPECT_TRUE(same(written(), pattern(100'000, 1)));
  EXPECT_EQ(fs::status(output()).permissions(), fs::perms::owner_read | fs::perms::owner_write);
  fs::remove(output());
  done({"get", ref, "-o", link.native()});
  EXPECT_TRUE(fs::is_symlink(link)) << "also one that led nowhere";
  EXPECT_TRUE(same(written(), pattern(100'000, 1)));
}

TEST_F(CliTest, GetWritesIntoPipesAndDevices) {
  const auto ref = done({"set", input()});
  const auto fifo = directory_ / "fifo";
  ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
  Child reader({"/bin/cat", fifo.native()});
  done({"get", ref, "-o", fifo.native()});
  EXPECT_EQ(reader.wait(), (Ended{0, 0}));
  EXPECT_TRUE(same(bytes_of(reader.out()), pattern(100'000, 1)));
  EXPECT_TRUE(fs::is_fifo(fifo));
  const auto device = directory_ / "device";
  fs::create_symlink("/dev/null", device);
  done({"get", ref, "-o", device.native()});
  EXPECT_TRUE(fs::is_symlink(device));
  EXPECT_TRUE(fs::is_character_file("/dev/null"));
  expect_failure({"get", ref, "-o", directory_.path().native()}, "InvalidArgument");
}

TEST_F(CliTest, GetOverTheLimitOfFileSizesLeavesNoFile) {
  const auto limited =
      run({"/bin/sh", "-c", "ulimit -f 64 && exec \"$0\" \"$@\"", cli_program(), "--node",
           node_.address(), "get", done({"set", input()}), "-o", output()});
  EXPECT_EQ(limited.status, 1);
  EXPECT_THAT(limited.err,
              AllOf(StartsWith("mempool: NoSpace: " + output()), HasSubstr("ulimit -f allows")));
  for (const auto& file : files_below(directory_.path()))
    EXPECT_THAT(file.filename().native(), ::testing::Not(StartsWith("out")));
}

TEST_F(CliTest, SignalsThatEndAGetLeaveNoFile) {
  Daemon other(spill_directory("b"), {"--join", node_.address()});
  ASSERT_TRUE(eventually([&] { return done_json({"nodes"}).size() == 2; }));
  const auto ref = done({"set", input(), "--on", other.address()});
  other.pause();
  for (const int number : {SIGINT, SIGTERM, SIGHUP}) {
    Child get({cli_program(), "--node", node_.address(), "get", ref, "-o", output()});
    const auto part = output() + ".part." + std::to_string(get.pid());
    EXPECT_TRUE(eventually([&] { return fs::exists(part); })) << get.err();
    get.signal(number);
    EXPECT_EQ(get.wait(), (Ended{-1, number}));
    EXPECT_FALSE(fs::exists(part));
    EXPECT_FALSE(fs::exists(output()));
  }
  other.resume();
}

TEST_F(CliTest, DeleteTakesSeveralAndGoesOnAfterAMissingOne) {
  const auto a = done({"set", input()}), b = done({"set", input()}), c = done({"set", input()});
  done({"delete", a});
  expect_failure({"delete", b, a, c}, "NotFound");
  expect_failure({"get", b}, "NotFound");
  expect_failure({"get", c}, "NotFound");
  EXPECT_EQ(done_json({"stats"})["blobs"], 0);
}

TEST_F(CliTest, DiskCommands) {
  const auto ref = done({"set", input(), "--type", "Table"});
  const auto copied = done({"copy-to-disk", ref});
  EXPECT_THAT(copied, StartsWith("file1:"));
  EXPECT_THAT(cli({"inspect", ref}).out, HasSubstr("memory and disk"));
  EXPECT_EQ(done({"move-to-disk", ref}), copied);
  auto info = done_json({"inspect", ref});
  EXPECT_EQ(info["in_memory"], false);
  EXPECT_EQ(info["on_disk"], true);
  EXPECT_TRUE(same(bytes_of(cli({"get", copied}).out), pattern(100'000, 1)));
  EXPECT_EQ(done({"prefetch", ref}), "");
  EXPECT_EQ(done_json({"inspect", ref})["in_memory"], true);

  const auto path = (directory_ / "saved.blob").native();
  const auto saved = done({"save-to-disk", ref, path});
  EXPECT_THAT(saved, HasSubstr(path));
  expect_failure({"save-to-disk", ref, path}, "Exists");
  done({"save-to-disk", ref, path, "--force"});
  done({"delete", ref});
  EXPECT_TRUE(same(bytes_of(cli({"get", saved}).out), pattern(100'000, 1)));
  expect_failure({"get", copied}, "NotFound");

  const auto adopted = done({"adopt", saved});
  EXPECT_EQ(done_json({"inspect", adopted})["type"], "Table");
  EXPECT_TRUE(same(bytes_of(cli({"get", adopted}).out), pattern(100'000, 1)));
  EXPECT_EQ(done_json({"inspect", done({"adopt", saved, "--on", node_.address()})})["bytes"],
            100'000);
}

TEST_F(CliTest, SaveToARelativePath) {
  const auto saved = done({"save-to-disk", done({"set", input()}), "here.blob"},
                          {.directory = directory_.path().native()});
  EXPECT_THAT(saved, HasSubstr((directory_ / "here.blob").native()));
}

TEST_F(CliTest, SetOptions) {
  const auto ref = done({"set", input(), "--type", "T", "--drop-on-evict", "--retain"});
  const auto info = done_json({"inspect", ref});
  EXPECT_EQ(info["type"], "T");
  EXPECT_EQ(info["drop_on_evict"], true);
  EXPECT_EQ(info["retain"], true);
}

TEST_F(CliTest, TextInAnyEncodingIsPrinted) {
  Daemon other(spill_directory("a\xff"));
  const auto ran = run_cli(other.address(), {"set", input(), "--type", "\xff\x1b[31mred"});
  const auto ref = last_line(ran.out);
  EXPECT_EQ(run_cli(other.address(), {"copy-to-disk", ref}).status, 0);
  const auto as_json = run_cli(other.address(), {"inspect", ref, "--json"});
  EXPECT_EQ(as_json.status, 0) << as_json.err;
  const auto info = json::parse(as_json.out);
  EXPECT_EQ(info["type"], "\xEF\xBF\xBD\x1b[31mred");
  EXPECT_THAT(info["file"].get<std::string>(), HasSubstr("/a\xEF\xBF\xBD/"));
  const auto text = run_cli(other.address(), {"inspect", ref}).out;
  EXPECT_THAT(text, AllOf(HasSubstr("\\x1b[31mred\n"), ::testing::Not(HasSubstr("\x1b"))));
}

TEST_F(CliTest, InspectNodesAndStats) {
  const auto ref = done({"set", input()});
  const auto info = done_json({"inspect", ref});
  EXPECT_EQ(info["owner"], node_.node());
  EXPECT_EQ(info["bytes"], 100'000);
  EXPECT_EQ(info["in_memory"], true);
  EXPECT_EQ(info["on_disk"], false);
  EXPECT_EQ(info["pins"], 0);
  EXPECT_EQ(info["path"], "shared memory");
  const auto text = cli({"--provider", best_tcp_provider(), "inspect", ref}).out;
  EXPECT_THAT(text, AllOf(HasSubstr("memory"), HasSubstr("tcp (" + best_tcp_provider() + ")"),
                          HasSubstr(node_.node()), HasSubstr("97.7 KiB")));

  const auto nodes = done_json({"nodes"});
  ASSERT_EQ(nodes.size(), 1U);
  EXPECT_EQ(nodes[0]["id"], node_.node());
  EXPECT_EQ(nodes[0]["address"], node_.address());
  EXPECT_EQ(nodes[0]["alive"], true);
  EXPECT_EQ(nodes[0]["providers"].get<Words>(), node_.providers());
  EXPECT_THAT(cli({"nodes"}).out, AllOf(HasSubstr(node_.node()), HasSubstr(node_.address()),
                                        HasSubstr("up"), HasSubstr(best_tcp_provider())));

  const auto stats = done_json({"stats"});
  EXPECT_EQ(stats["node"], node_.node());
  EXPECT_EQ(stats["blobs"], 1);
  EXPECT_EQ(stats["payload_bytes"], 100'000);
  EXPECT_EQ(stats["max_memsize"], 64 * kMiB);
  EXPECT_GE(stats["sessions"], 1);
  EXPECT_GT(stats["requests_served"], 0);
  EXPECT_GE(stats["recency_reports"], 0);
  EXPECT_TRUE(stats["retries"].is_object());
  EXPECT_THAT(cli({"stats"}).out, AllOf(HasSubstr("payload_bytes"), HasSubstr("64.0 MiB"),
                                        HasSubstr("recency_reports"), HasSubstr("retries")));
}

TEST_F(CliTest, OnlyCommandsThatMoveBytesLookForProviders) {
  const auto ref = done({"set", input()});
  const auto looks = [&](const Words& words) {
    const auto ran = cli(words, {.environment = {"FI_LOG_LEVEL=info"}});
    EXPECT_EQ(ran.status, 0) << words[0] << ": " << ran.err;
    return ran.err.find("fi_getinfo") != std::string::npos;
  };
  for (const Words& words : {Words{"nodes"}, {"stats"}, {"copy-to-disk", ref}, {"prefetch", ref}})
    EXPECT_FALSE(looks(words)) << words[0];
  EXPECT_TRUE(looks({"nodes", "--provider", "auto"})) << "what the user says goes before";
  EXPECT_TRUE(looks({"inspect", ref}));
  EXPECT_TRUE(looks({"get", ref, "-o", output()}));
  EXPECT_FALSE(looks({"delete", ref}));
}

TEST_F(CliTest, OnNamesANodeByAddressOrId) {
  Daemon other(spill_directory("b"), {"--join", node_.address()});
  ASSERT_TRUE(eventually([&] { return done_json({"nodes"}).size() == 2; }));
  for (const auto& name : {other.address(), other.node()}) {
    const auto ref = done({"set", input(), "--on", name});
    EXPECT_EQ(done_json({"inspect", ref})["owner"], other.node());
    EXPECT_TRUE(same(bytes_of(cli({"get", ref}).out), pattern(100'000, 1)));
    EXPECT_EQ(done_json({"stats", "--on", name})["node"], other.node());
  }
  const auto ran = cli({"set", input(), "--on", "nobody:1"});
  EXPECT_EQ(ran.status, 1);
  EXPECT_THAT(ran.err, AllOf(HasSubstr("NotFound"), HasSubstr("nobody:1"),
                             HasSubstr(other.address()), HasSubstr(node_.address())));
  expect_failure({"stats", "--on", "0123"}, "NotFound");
}

TEST_F(CliTest, NodeFromTheEnvironment) {
  const ChildOptions environment{.environment = {"MEMPOOL_NODE=" + node_.address()}};
  const auto ran = run({cli_program(), "set", input()}, environment);
  EXPECT_EQ(ran.status, 0) << ran.err;
  // The flag wins.
  const auto both =
      run({cli_program(), "--node", node_.address(), "nodes"}, {.environment = {"MEMPOOL_NODE=x"}});
  EXPECT_EQ(both.status, 0) << both.err;
  const auto wrong = run({cli_program(), "nodes"}, {.environment = {"MEMPOOL_NODE=nonsense"}});
  EXPECT_EQ(wrong.status, 2);
  EXPECT_THAT(wrong.err, HasSubstr("HOST:PORT"));
}

TEST_F(CliTest, FlagsMayStandBehindTheCommand) {
  const auto ran = run({cli_program(), "set", input(), "--node", node_.address()});
  EXPECT_EQ(ran.status, 0) << ran.err;
}

TEST_F(CliTest, LoadPrintsAManifestAndVerifyProvesIt) {
  const auto tree = directory_ / "tree";
  fs::create_directories(tree / "deep" / "er");
  write_file(tree / "a", pattern(10, 1));
  write_file(tree / "empty", {});
  write_file(tree / "deep" / "big", pattern(3 * kMiB, 2));
  write_file(tree / "deep" / "er" / "odd\tname\nwith \\ all", pattern(1000, 3));
  fs::create_symlink(tree / "a", tree / "link");
  const auto loaded = cli({"load", tree.native()});
  EXPECT_EQ(loaded.status, 0) << loaded.err;
  EXPECT_THAT(loaded.err, IsEmpty()) << "no progress bar where nobody looks";
  EXPECT_EQ(std::ranges::count(loaded.out, '\n'), 4);
  EXPECT_THAT(loaded.out, HasSubstr("odd\\tname\\nwith \\\\ all\t1000\tdref1"));
  const auto manifest = (directory_ / "manifest").native();
  write_file(manifest, bytes_of(loaded.out));

  const auto verified = cli({"verify", manifest});
  EXPECT_EQ(verified.status, 0) << verified.err;
  EXPECT_THAT(verified.out, AllOf(HasSubstr("files       4"), HasSubstr("mismatches  0"),
                                  HasSubstr("shared memory: 4 gets")));
  auto report = done_json({"verify", manifest});
  EXPECT_EQ(report["files"], 4);
  EXPECT_EQ(report["bytes"], 10 + 3 * kMiB + 1000);
  EXPECT_EQ(report["mismatches"], 0);
  EXPECT_EQ(report["gets_by_path"]["shared memory"], 4);
  // What a reader of memory and a digest of both can do at the most.
  ASSERT_TRUE(report["mib_per_s"].is_number()) << report;
  EXPECT_GT(report["mib_per_s"], 0);
  EXPECT_LT(report["mib_per_s"], 20'000);
  EXPECT_EQ(cli({"verify", "-"}, {.input = bytes_of(loaded.out)}).status, 0);

  // Originals that are gone or have another size prove nothing.
  fs::rename(tree / "a", tree / "b");
  write_file(tree / "empty", pattern(1));
  const auto partly = cli({"verify", manifest});
  EXPECT_EQ(partly.status, 1);
  EXPECT_THAT(partly.out, AllOf(HasSubstr("files       2\n"), HasSubstr("changed     2 "),
                                HasSubstr("mismatches  0")));
  EXPECT_THAT(partly.err, AllOf(HasSubstr("not compared: " + (tree / "a").native()),
                                HasSubstr("empty: has 1 bytes, and had 0"),
                                HasSubstr("mempool: NotFound: 2 of 4 files")));
  write_file(tree / "empty", {});
  fs::rename(tree / "b", tree / "a");

  // An original of the same size that changed is a mismatch.
  flip(tree / "deep" / "big", 12345);
  fs::remove(tree / "a");
  const auto changed = cli({"verify", manifest, "--json"});
  EXPECT_EQ(changed.status, 1);
  EXPECT_THAT(changed.err,
              AllOf(HasSubstr("mismatch: "), HasSubstr("deep/big"), HasSubstr("mempool: Corrupt")));
  report = json::parse(changed.out);
  EXPECT_EQ(report["mismatches"], 1);
  EXPECT_EQ(report["changed_files"], 1);
  EXPECT_EQ(report["files"], 3);
}

TEST_F(CliTest, VerifyOfNothingHasNoRate) {
  fs::create_directories(directory_ / "tree");
  write_file(directory_ / "tree" / "empty", {});
  const auto manifest = (directory_ / "manifest").native();
  write_file(manifest, bytes_of(cli({"load", (directory_ / "tree").native()}).out));
  EXPECT_TRUE(done_json({"verify", manifest})["mib_per_s"].is_null());
  const auto text = cli({"verify", manifest});
  EXPECT_EQ(text.status, 0) << text.err;
  EXPECT_THAT(text.out,
              AllOf(HasSubstr("files       1\n"), ::testing::Not(HasSubstr("throughput"))));
}

TEST_F(CliTest, StandardOutputThatIsFullIsAnError) {
  fs::create_directories(directory_ / "tree");
  write_file(directory_ / "tree" / "a", pattern(10, 1));
  const auto tree = (directory_ / "tree").native();
  const auto manifest = (directory_ / "manifest").native();
  write_file(manifest, bytes_of(cli({"load", tree}).out));
  for (const Words& words : {Words{"verify", "--json", manifest},
                             {"verify", manifest},
                             {"load", tree},
                             {"stats"},
                             {"doctor"},
                             {"print-config"},
                             {"--help"}}) {
    Words command{"/bin/sh",     "-c",     "exec \"$0\" \"$@\" > /dev/full",
                  cli_program(), "--node", node_.address()};
    command.insert(command.end(), words.begin(), words.end());
    const auto ran = run(command);
    EXPECT_EQ(ran.status, 1) << words[0];
    EXPECT_THAT(ran.err, StartsWith("mempool: NoSpace: ")) << words[0];
  }
}

TEST_F(CliTest, LoadSaysWhatItCannotRead) {
  const auto tree = directory_ / "tree";
  fs::create_directories(tree / "closed");
  for (const char* name : {"a", "b", "closed/c"}) write_file(tree / name, pattern(10));
  fs::permissions(directory_.path(), fs::perms::all);
  fs::permissions(tree / "a", fs::perms::none);
  fs::permissions(tree / "closed", fs::perms::none);
  Words command{cli_program(), "--node", node_.address(), "load", tree.native()};
  if (::geteuid() == 0) {
    if (!fs::exists("/usr/bin/setpriv"))
      GTEST_SKIP() << "SKIPPED: root may read everything, and there is no setpriv";
    command.insert(command.begin(),
                   {"/usr/bin/setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"});
  }
  const auto ran = run(command);
  fs::permissions(tree / "closed", fs::perms::all);
  if (ran.err.find("setpriv") != std::string::npos || ran.status == 127 ||
      ran.err.find("error while loading") != std::string::npos)
    GTEST_SKIP() << "SKIPPED: another user cannot be taken here: " << ran.err;
  EXPECT_EQ(ran.status, 1);
  EXPECT_THAT(ran.out, AllOf(StartsWith((tree / "b").native()), HasSubstr("dref1")));
  EXPECT_EQ(std::ranges::count(ran.out, '\n'), 1);
  EXPECT_THAT(ran.err, AllOf(HasSubstr("left out: " + (tree / "a").native() + ": Permission"),
                             HasSubstr("left out: " + (tree / "closed").native() + ": Permission"),
                             HasSubstr("mempool: Io: 2 files or directories")));
}

TEST_F(CliTest, LoadOnOneNodeAndOnAllInTurn) {
  Daemon other(spill_directory("b"), {"--join", node_.address()});
  ASSERT_TRUE(eventually([&] { return done_json({"nodes"}).size() == 2; }));
  const auto tree = directory_ / "tree";
  fs::create_directories(tree);
  for (char name : {'a', 'b', 'c', 'd'}) write_file(tree / std::string(1, name), pattern(100));
  const auto blobs = [&](const Daemon& node) {
    return done_json({"stats", "--on", node.address()})["blobs"].get<int>();
  };
  EXPECT_EQ(cli({"load", tree.native()}).status, 0);
  EXPECT_EQ(blobs(node_), 2);
  EXPECT_EQ(blobs(other), 2);
  EXPECT_EQ(cli({"load", tree.native(), "--on", other.node(), "-q"}).status, 0);
  EXPECT_EQ(blobs(node_), 2);
  EXPECT_EQ(blobs(other), 6);
}

TEST_F(CliTest, DamagedManifestsSayWhere) {
  const auto ref = done({"set", input()});
  const auto good = input() + "\t100000\t" + ref + "\n";
  const auto refused = [&](const std::string& line) {
    const auto ran = cli({"verify", "-"}, {.input = bytes_of(good + line + "\n")});
    EXPECT_EQ(ran.status, 1) << line;
    EXPECT_THAT(ran.err, AllOf(StartsWith("mempool: InvalidArgument: "), HasSubstr("line 2")));
  };
  for (const std::string line : {"", "no tabs", "a\tb", "a\tb\tc", "a\t12\tdref1", "a\t-1\tdref1"})
    refused(line);
  refused("a\t12\t" + ref.substr(0, ref.size() - 1));
  expect_failure({"verify", (directory_ / "none").native()}, "NotFound");
  expect_failure({"load", (directory_ / "none").native()}, "NotFound");
}

TEST_F(CliTest, ReferencesThatAreNone) {
  const auto ref = done({"set", input()});
  auto mistyped = ref;
  mistyped[20] = mistyped[20] == 'a' ? 'b' : 'a';
  for (const auto& text : {std::string("x"), ref.substr(0, 60), mistyped, ref + "0"})
    for (const char* command :
         {"get", "delete", "inspect", "move-to-disk", "copy-to-disk", "prefetch"})
      expect_failure({command, text}, "InvalidArgument");
  expect_failure({"get", "file1:123"}, "InvalidArgument");
  expect_failure({"adopt", ref}, "InvalidArgument");
  expect_failure({"get", "file1:"}, "InvalidArgument");
}

TEST_F(CliTest, SourcesThatAreNone) {
  expect_failure({"set", (directory_ / "none").native()}, "NotFound");
  expect_failure({"set", directory_.path().native()}, "InvalidArgument");
  expect_failure({"set", "/dev/null"}, "InvalidArgument");
  ASSERT_EQ(::mkfifo((directory_ / "fifo").c_str(), 0600), 0);
  expect_failure({"set", (directory_ / "fifo").native()}, "InvalidArgument");
  if (::geteuid() != 0) return;
  // Root reads everything: somebody else is refused.
  fs::permissions(input(), fs::perms::none);
  fs::permissions(directory_.path(), fs::perms::all);
  const auto ran = run({"/usr/bin/setpriv", "--reuid=65534", "--regid=65534", "--clear-groups",
                        cli_program(), "--node", node_.address(), "set", input()});
  if (ran.status == 127 || ran.err.find("setpriv") != std::string::npos)
    GTEST_SKIP() << "SKIPPED: another user cannot be taken here: " << ran.err;
  EXPECT_EQ(ran.status, 1);
  EXPECT_THAT(ran.err, StartsWith("mempool: PermissionDenied: "));
}

TEST_F(CliTest, OtherClusterIsRefused) {
  const auto ran = cli({"--cluster", "another", "nodes"});
  EXPECT_EQ(ran.status, 1);
  EXPECT_THAT(ran.err, StartsWith("mempool: WrongCluster: "));
}

}  // namespace
}  // namespace mempool::test
