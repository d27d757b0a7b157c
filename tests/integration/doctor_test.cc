// `mempool doctor` in real situations: a healthy machine, limits, places that cannot be written,
// peers that do not answer. Where a node would not start, one is started to see that it does not.
#include <algorithm>
#include <fstream>
#include <thread>
#include <vector>

#include <netinet/in.h>
#include <nlohmann/json.hpp>
#include <sys/socket.h>
#include <unistd.h>

#include "cluster_fixture.h"

namespace mempool::test {
namespace {

using nlohmann::json;
using ::testing::AllOf;
using ::testing::AnyOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::StartsWith;

struct Report {
  int status = -1;
  json document;

  const json& finding(const std::string& subject) const {
    static const json none{{"sign", "none"}, {"sentence", ""}, {"remedy", json::array()}};
    for (const auto& each : document["findings"])
      if (each["subject"] == subject) return each;
    ADD_FAILURE() << "no finding " << subject << " in " << document.dump(2);
    return none;
  }
  std::string sign(const std::string& subject) const { return finding(subject)["sign"]; }
  std::string sentence(const std::string& subject) const { return finding(subject)["sentence"]; }
  std::string remedy(const std::string& subject) const { return finding(subject)["remedy"].dump(); }
};

class DoctorTest : public ClusterTest {
 protected:
  /// mempool doctor --json words..., run by a command where a prefix is given, for a node of 64 MiB
  /// unless the words say otherwise.
  Report doctor(const Words& words = {}, Words command = {}, Words environment = {}) const {
    for (const auto& word : {cli_program(), std::string("doctor"), std::string("--json")})
      command.push_back(word);
    command.insert(command.end(), words.begin(), words.end());
    environment.push_back("MEMPOOL_SPILL_DIR=" + spill_directory("a").native());
    environment.emplace_back("MEMPOOL_MAX_MEMSIZE=64MiB");
    const auto ran = run(command, {.environment = environment});
    EXPECT_THAT(ran.err, IsEmpty());
    Report report{ran.status, json::parse(ran.out, nullptr, false)};
    EXPECT_FALSE(report.document.is_discarded()) << ran.out;
    const auto problems = report.document.value("problems", -1);
    EXPECT_EQ(report.status, problems > 0 ? 1 : 0) << ran.out;
    return report;
  }

  /// A shell that sets a limit and goes on as the rest of the command.
  static Words limited(const std::string& ulimit) {
    return {"/bin/sh", "-c", ulimit + " && exec \"$0\" \"$@\""};
  }
  /// Whether a node would start in the same situation.
  bool node_starts(Words prefix, const fs::path& spill) const {
    try {
      Daemon node(spill, Daemon::Options{.prefix = std::move(prefix)});
      return true;
    } catch (const std::runtime_error&) {
      return false;
    }
  }
  /// Whether one would find a place for a blob's file.
  bool node_spills(Words prefix, const fs::path& spill) const {
    Daemon node(spill, Daemon::Options{.prefix = std::move(prefix)});
    auto client = connect(node);
    return client.copytodisk(set(client, 1)).has_value();
  }
  static bool has_rdma() {
    std::error_code error;
    return fs::exists("/sys/class/infiniband", error) &&
           !fs::is_empty("/sys/class/infiniband", error);
  }
};

TEST_F(DoctorTest, AHealthyMachine) {
  const auto report = doctor();
  EXPECT_EQ(report.status, 0) << report.document.dump(2);
  EXPECT_EQ(report.document["problems"], 0);
  std::size_t warnings = 0;
  for (const auto& finding : report.document["findings"]) {
    const auto sign = finding["sign"].get<std::string>();
    EXPECT_THAT(sign, AnyOf("fine", "warning", "problem"));
    EXPECT_THAT(finding["subject"].get<std::string>(), Not(IsEmpty()));
    EXPECT_THAT(finding["sentence"].get<std::string>(), Not(IsEmpty()));
    EXPECT_TRUE(sign != "fine" || finding["remedy"].empty()) << finding;
    warnings += sign == "warning" ? 1 : 0;
  }
  EXPECT_EQ(report.document["warnings"], warnings);
  for (const char* subject : {"processors", "threads", "open files", "fork", "clock", "pauses",
                              "region", "memory", "memory lock", "huge pages", "shared memory",
                              "spill directory", "spill room", "spill file system", "RDMA"})
    EXPECT_NE(report.sign(subject), "none");
  if (has_rdma()) {
    EXPECT_EQ(report.sign("device files"), "fine");
  }
  for (const auto& name : {best_tcp_provider(), std::string("sockets")}) {
    EXPECT_EQ(report.sign("provider " + name), "fine");
    EXPECT_THAT(report.sentence("provider " + name), HasSubstr(" us"));
  }
  // It leaves nothing behind.
  EXPECT_EQ(directory_.entries(), 0U);
}

TEST_F(DoctorTest, TheTextSaysTheSame) {
  const auto ran = run({cli_program(), "doctor", "--spill-dir", spill_directory("a").native()});
  EXPECT_EQ(ran.status, 0) << ran.out << ran.err;
  EXPECT_THAT(ran.out, AllOf(HasSubstr("\nfine     threads "), HasSubstr("spill room"),
                             HasSubstr(" warnings, 0 problems\n")));
  if (has_rdma()) return;
  EXPECT_THAT(ran.out, HasSubstr("\nwarning  RDMA  "));
  EXPECT_THAT(ran.out, HasSubstr("\n" + std::string(28, ' ') + "$ "));
}

TEST_F(DoctorTest, JudgesTheNodeOfTheConfiguration) {
  fs::create_directories(spill_directory("b"));
  Daemon node(spill_directory("b"), {.max_memsize = "96MiB"});
  auto client = connect(node);
  const auto text = "max-memsize = '96MiB'\nspill-dir = '" + spill_directory("b").native() +
                    "'\npolicy = 'mru'\n";
  write_file(directory_ / "node.toml", std::as_bytes(std::span(text)));
  const auto ran = run({cli_program(), "--config", directory_ / "node.toml", "doctor"});
  EXPECT_EQ(ran.status, 0) << ran.out << ran.err;
  const auto capacity = store_stats(client).capacity_bytes;
  ASSERT_EQ(capacity % kMiB, 0U);
  EXPECT_THAT(ran.out, AllOf(HasSubstr("takes " + std::to_string(capacity / kMiB) + ".0 MiB of"),
                             HasSubstr(spill_directory("b").native() + " takes blob files")));
}

TEST_F(DoctorTest, HowToGetSoftRoce) {
  if (has_rdma()) GTEST_SKIP() << "SKIPPED: this machine has an RDMA device";
  const auto report = doctor();
  EXPECT_EQ(report.sign("RDMA"), "warning");
  const auto remedy = report.finding("RDMA")["remedy"].get<Words>();
  ASSERT_FALSE(remedy.empty());
  if (remedy[0].starts_with("ci/")) {
    EXPECT_THAT(remedy[0], StartsWith("ci/soft-roce -- "));
  } else {
    EXPECT_THAT(remedy.back(), HasSubstr("rdma link add rxe0 type rxe netdev "));
    EXPECT_THAT(report.sentence("RDMA"), HasSubstr("--insecure"));
  }
  const auto required = doctor({"--require-rdma"});
  EXPECT_EQ(required.status, 1);
  EXPECT_EQ(required.sign("RDMA"), "problem");
}

// ---- limits ----

TEST_F(DoctorTest, MemoryLockAt64KiB) {
  auto limit = limited("ulimit -l 64");
  if (::geteuid() == 0) {
    // Who may lock everything has no limit.
    const auto unbounded = doctor({}, limit);
    if (unbounded.sign("memory lock") == "fine") {
      EXPECT_THAT(unbounded.sentence("memory lock"), HasSubstr("CAP_IPC_LOCK"));
    }
    if (!fs::exists("/usr/bin/setpriv")) GTEST_SKIP() << "SKIPPED: there is no setpriv";
    limit.insert(limit.begin(), {"/usr/bin/setpriv", "--bounding-set=-ipc_lock"});
  }
  const auto report = doctor({}, limit);
  EXPECT_EQ(report.sign("memory lock"), has_rdma() ? "problem" : "warning");
  EXPECT_THAT(report.sentence("memory lock"), AllOf(HasSubstr("160.0 MiB"), HasSubstr("64.0 KiB")));
  EXPECT_THAT(report.remedy("memory lock"), AnyOf(HasSubstr("memlock"), HasSubstr("ulimit -l")));
  const auto required = doctor({"--require-rdma"}, limit);
  EXPECT_EQ(required.status, 1);
  EXPECT_EQ(required.sign("memory lock"), "problem");
}

TEST_F(DoctorTest, SmallLimitOfFileSizes) {
  const auto limit = limited("ulimit -f 64");
  const auto report = doctor({}, limit);
  EXPECT_EQ(report.status, 1);
  EXPECT_EQ(report.sign("region"), "problem");
  EXPECT_THAT(report.sentence("region"), AllOf(HasSubstr("File too large"), HasSubstr(" KiB")));
  EXPECT_THAT(report.remedy("region"), AnyOf(HasSubstr("fsize"), HasSubstr("ulimit -f")));
  EXPECT_FALSE(node_starts(limit, spill_directory("b")));
}

TEST_F(DoctorTest, SmallAddressSpace) {
  if (kSanitized) GTEST_SKIP() << "SKIPPED: sanitizers need all of the address space";
  const auto report = doctor({"--max-memsize", "4GiB"}, limited("ulimit -v 3000000"));
  EXPECT_EQ(report.status, 1);
  EXPECT_EQ(report.sign("region"), "problem");
  EXPECT_THAT(report.sentence("region"), HasSubstr("address space"));
}

TEST_F(DoctorTest, FewThreads) {
  if (::geteuid() != 0 || !fs::exists("/usr/bin/setpriv") || !fs::exists("/usr/bin/prlimit"))
    GTEST_SKIP() << "SKIPPED: needs root, setpriv, prlimit and a user without processes";
  // The limit counts the user's processes on the whole machine, and does not count for root.
  const Words prefix{"/usr/bin/prlimit", "--nproc=10",    "/usr/bin/setpriv",
                     "--reuid=54321",    "--regid=54321", "--clear-groups"};
  fs::permissions(directory_.path(), fs::perms::all);
  Words probe = prefix;
  probe.emplace_back(cli_program());
  probe.emplace_back("--help");
  if (run(probe).status != 0) GTEST_SKIP() << "SKIPPED: another user cannot run the programs here";
  const auto report = doctor({}, prefix);
  EXPECT_EQ(report.status, 1);
  EXPECT_EQ(report.sign("threads"), "problem");
  EXPECT_THAT(report.sentence("threads"), StartsWith("only "));
}

TEST_F(DoctorTest, SmallControlGroup) {
#ifdef __SANITIZE_ADDRESS__
  GTEST_SKIP() << "SKIPPED: the sanitizer's own memory does not fit into the control group";
#endif
  const fs::path groups = "/sys/fs/cgroup";
  const auto name = "mempool-test-" + std::to_string(::getpid());
  struct Group {
    fs::path path;
    ~Group() { ::rmdir(path.c_str()); }
  };
  std::error_code error;
  const bool version1 = fs::exists(groups / "memory", error);
  const Group memory{(version1 ? groups / "memory" : groups) / name};
  fs::create_directory(memory.path, error);
  const auto limit = memory.path / (version1 ? "memory.limit_in_bytes" : "memory.max");
  std::ofstream(limit) << 192 * kMiB << std::flush;
  std::ifstream in(limit);
  std::uint64_t set = 0;
  if (!(in >> set) || set != 192 * kMiB)
    GTEST_SKIP() << "SKIPPED: no control group with a memory limit can be made here";
  const auto report =
      doctor({"--max-memsize", "256MiB"},
             {"/bin/sh", "-c",
              "echo $$ >" + (memory.path / "cgroup.procs").native() + " && exec \"$0\" \"$@\""});
  EXPECT_EQ(report.status, 1);
  EXPECT_EQ(report.sign("memory"), "problem");
  EXPECT_THAT(report.sentence("memory"), AllOf(HasSubstr("256.0 MiB"), HasSubstr("192.0 MiB")));
  EXPECT_THAT(report.remedy("memory"), HasSubstr("--max-memsize 96MiB"));
}

TEST_F(DoctorTest, MoreMemoryThanThereIs) {
  const auto report = doctor({"--max-memsize", "16TiB"});
  EXPECT_EQ(report.status, 1);
  EXPECT_EQ(report.sign("memory"), "problem");
  for (const char* size : {"0", "15EiB"})
    EXPECT_EQ(doctor({"--max-memsize", size}).sign("memory"), "problem");
}

// ---- the spill directory ----

TEST_F(DoctorTest, SpillDirectoryOnAFullDisk) {
  const auto disk = SmallDisk::mount(directory_ / "disk", kMiB);
  if (!disk) GTEST_SKIP() << "SKIPPED: nothing can be mounted here";
  const auto before = doctor({"--spill-dir", directory_ / "disk"});
  EXPECT_EQ(before.status, 0);
  EXPECT_EQ(before.sign("spill directory"), "fine");
  EXPECT_EQ(before.sign("spill room"), "warning") << "1 MiB for 64";
  EXPECT_THAT(before.sentence("spill file system"), HasSubstr("tmpfs"));
  {
    std::ofstream filler(directory_ / "disk" / "filler");
    const std::string part(64 * 1024, 'x');
    while (filler << part << std::flush) {
    }
  }
  const auto report = doctor({"--spill-dir", directory_ / "disk" / "below"});
  EXPECT_EQ(report.status, 1);
  EXPECT_EQ(report.sign("spill directory"), "problem");
  EXPECT_THAT(report.sentence("spill directory"), HasSubstr("No space left"));
  EXPECT_EQ(report.sign("spill room"), "problem");
}

TEST_F(DoctorTest, SpillDirectoryWithoutPermission) {
  const auto closed = directory_ / "closed";
  fs::create_directories(closed);
  fs::permissions(closed, fs::perms::owner_read | fs::perms::owner_exec | fs::perms::others_read |
                              fs::perms::others_exec);
  fs::permissions(directory_.path(), fs::perms::all);
  Words prefix;
  if (::geteuid() == 0) {
    if (!fs::exists("/usr/bin/setpriv"))
      GTEST_SKIP() << "SKIPPED: root may write everywhere, and there is no setpriv";
    prefix = {"/usr/bin/setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"};
    Words probe = prefix;
    probe.emplace_back(cli_program());
    probe.emplace_back("--help");
    if (run(probe).status != 0)
      GTEST_SKIP() << "SKIPPED: another user cannot run the programs here";
  }
  const auto report = doctor({"--spill-dir", closed / "below"}, prefix);
  EXPECT_EQ(report.status, 1);
  EXPECT_EQ(report.sign("spill directory"), "problem");
  EXPECT_THAT(report.sentence("spill directory"), HasSubstr("Permission denied"));
  EXPECT_THAT(report.remedy("spill directory"), HasSubstr("sudo install -d"));
  EXPECT_FALSE(node_spills(prefix, closed / "below"));
}

TEST_F(DoctorTest, SpillDirectoriesThatCannotBe) {
  write_file(directory_ / "file", {});
  for (const auto& place : {directory_ / "file", directory_ / "file" / "below"}) {
    const auto report = doctor({"--spill-dir", place});
    EXPECT_EQ(report.status, 1);
    EXPECT_THAT(report.sentence("spill directory"), HasSubstr("no directory"));
    EXPECT_FALSE(node_spills({}, place));
  }
  EXPECT_EQ(doctor({"--spill-dir", "/proc/mempool"}).sign("spill directory"), "problem");
  EXPECT_EQ(run({cli_program(), "doctor", "--spill-dir", ""}).status, 2);
}

TEST_F(DoctorTest, NoSpillDirectoryIsWanted) {
  const auto report = doctor({"--spill-dir", "none"});
  EXPECT_EQ(report.sign("spill directory"), "fine");
  EXPECT_THAT(report.sentence("spill directory"), HasSubstr("none is wanted"));
}

TEST_F(DoctorTest, SpillDirectoryWithoutInodes) {
  const auto disk = SmallDisk::mount(directory_ / "disk", 64 * kMiB, /*inodes=*/2);
  if (!disk) GTEST_SKIP() << "SKIPPED: nothing can be mounted here";
  write_file(directory_ / "disk" / "filler", {});
  const auto report = doctor({"--spill-dir", directory_ / "disk"});
  EXPECT_EQ(report.sign("spill directory"), "problem");
  EXPECT_THAT(report.sentence("spill directory"), HasSubstr("no inodes left"));
  EXPECT_THAT(report.remedy("spill directory"), HasSubstr("df -i"));
  EXPECT_EQ(report.sign("spill room"), "problem");
}

// ---- providers ----

TEST_F(DoctorTest, FiProviderLeavesProvidersOut) {
  const auto report = doctor({}, {}, {"FI_PROVIDER=sockets"});
  EXPECT_EQ(report.sign("provider sockets"), "fine");
  EXPECT_EQ(report.sign("provider " + best_tcp_provider()), "warning");
  EXPECT_THAT(report.remedy("provider " + best_tcp_provider()), HasSubstr("unset FI_PROVIDER"));
}

TEST_F(DoctorTest, ProvidersThatAreNotThere) {
  if (has_rdma()) GTEST_SKIP() << "SKIPPED: this machine has an RDMA device";
  const auto report = doctor({"--provider", "verbs"});
  EXPECT_EQ(report.status, 1);
  EXPECT_THAT(report.sentence("providers"), HasSubstr("verbs"));
}

// ---- a peer ----

TEST_F(DoctorTest, APeerThatIsWell) {
  Daemon node(spill_directory("b"));
  const auto report = doctor({node.address()});
  EXPECT_EQ(report.status, 0) << report.document.dump(2);
  EXPECT_EQ(report.sign("peer"), "fine");
  EXPECT_EQ(report.sign("path"), "fine");
  EXPECT_THAT(report.sentence("path"), HasSubstr("by shared memory"));
  const auto sentence = report.sentence("round trip");
  const auto takes = sentence.find("takes ");
  ASSERT_NE(takes, std::string::npos) << sentence;
  const double microseconds = std::stod(sentence.substr(takes + 6));
  EXPECT_GT(microseconds, 0.05);
  EXPECT_LT(microseconds, 1e6);
  auto client = connect(node);
  expect_empty(client, node);
}

TEST_F(DoctorTest, WhyNotABetterPath) {
  Daemon limited_node(spill_directory("b"), {"--provider", "sockets"});
  const auto theirs =
      doctor({limited_node.address(), "--provider", best_tcp_provider() + ",sockets"});
  EXPECT_EQ(theirs.status, 0);
  EXPECT_EQ(theirs.sign("path"), "warning");
  EXPECT_THAT(theirs.sentence("path"), AllOf(HasSubstr("by tcp (sockets); "),
                                             HasSubstr(best_tcp_provider() + " is not offered")));
  Daemon node(spill_directory("c"));
  const auto ours = doctor({node.address(), "--provider", "sockets"});
  EXPECT_EQ(ours.sign("path"), "fine") << "as was asked for";
  EXPECT_THAT(ours.sentence("path"), HasSubstr("shared memory is not allowed here"));
  EXPECT_THAT(ours.sentence("path"), AllOf(HasSubstr("by tcp (sockets); "),
                                           HasSubstr(best_tcp_provider() + " is not allowed")));
}

TEST_F(DoctorTest, WhyNotSharedMemory) {
  Daemon node(spill_directory("b"), {"--provider", best_tcp_provider()});
  const auto report = doctor({node.address()});
  EXPECT_EQ(report.status, 0);
  EXPECT_EQ(report.sign("path"), "warning");
  EXPECT_THAT(report.sentence("path"), HasSubstr("does not let this process map its memory"));
}

TEST_F(DoctorTest, APeerThatIsNotThere) {
  const auto address = "127.0.0.1:" + std::to_string(fixed_port());
  const auto report = doctor({address});
  EXPECT_EQ(report.status, 1);
  EXPECT_EQ(report.sign("peer"), "problem");
  EXPECT_THAT(report.sentence("peer"), HasSubstr(address));
  EXPECT_THAT(report.remedy("peer"), HasSubstr("mempoold --listen " + address));
}

/// A port of this host that is listened on by what is no node.
class Listener {
 public:
  Listener() {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    auto* where = reinterpret_cast<sockaddr*>(&address);
    if (::bind(socket_, where, size) != 0 || ::listen(socket_, 16) != 0 ||
        ::getsockname(socket_, where, &size) != 0)
      throw std::runtime_error("cannot listen");
    address_ = "127.0.0.1:" + std::to_string(ntohs(address.sin_port));
  }
  ~Listener() {
    ::shutdown(socket_, SHUT_RDWR);
    if (server_.joinable()) server_.join();
    for (const int accepted : accepted_) ::close(accepted);
    ::close(socket_);
  }
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;

  /// Says the same to all who connect; until then, nobody reads what is sent.
  void answer(const std::string& text) {
    server_ = std::thread([this, text] {
      for (int fd; (fd = ::accept(socket_, nullptr, nullptr)) >= 0; accepted_.push_back(fd))
        (void)!::send(fd, text.data(), text.size(), MSG_NOSIGNAL);
    });
  }
  const std::string& address() const { return address_; }

 private:
  const int socket_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  std::string address_;
  std::vector<int> accepted_;
  std::thread server_;
};

TEST_F(DoctorTest, APeerThatDoesNotAnswer) {
  const Listener peer;
  const auto begin = Clock::now();
  const auto report = doctor({peer.address(), "--timeout-ms", "1500"});
  EXPECT_LT(Clock::now() - begin, 30s);
  EXPECT_EQ(report.status, 1);
  EXPECT_EQ(report.sign("peer"), "problem");
  EXPECT_THAT(report.sentence("peer"), AllOf(HasSubstr("Timeout"), HasSubstr(peer.address())));
  EXPECT_THAT(report.remedy("peer"), AllOf(HasSubstr("ss -ltnp"), HasSubstr("--timeout-ms"),
                                           Not(HasSubstr("mempoold --listen"))));
}

TEST_F(DoctorTest, APeerThatIsNoNode) {
  Listener peer;
  peer.answer("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
  const auto report = doctor({peer.address()});
  EXPECT_EQ(report.status, 1);
  EXPECT_THAT(report.sentence("peer"), StartsWith("Protocol"));
  EXPECT_THAT(report.remedy("peer"), AllOf(HasSubstr("ss -ltnp"), HasSubstr("no mempoold"),
                                           Not(HasSubstr("mempoold --listen"))));
}

TEST_F(DoctorTest, APeerOfAnotherCluster) {
  Daemon node(spill_directory("b"), {"--cluster", "other"});
  const auto report = doctor({node.address()});
  EXPECT_EQ(report.status, 1);
  EXPECT_THAT(report.sentence("peer"), StartsWith("WrongCluster"));
  EXPECT_THAT(report.remedy("peer"), HasSubstr("--cluster NAME"));
  EXPECT_EQ(doctor({node.address(), "--cluster", "other"}).status, 0);
}

TEST_F(DoctorTest, WrongUsage) {
  for (const Words& words : {Words{"nonsense"},
                             {"127.0.0.1:1", "127.0.0.1:2"},
                             {"--no-such-flag"},
                             {"--max-memsize", "much"},
                             {"--provider", "carrier-pigeon"},
                             {"--listen", "nowhere"}}) {
    Words command{cli_program(), "doctor"};
    command.insert(command.end(), words.begin(), words.end());
    const auto ran = run(command);
    EXPECT_EQ(ran.status, 2) << words[0] << ran.out << ran.err;
    EXPECT_THAT(ran.out, IsEmpty());
    EXPECT_THAT(ran.err, HasSubstr(words.back() == "much" ? "--max-memsize" : words.back()));
  }
}

}  // namespace
}  // namespace mempool::test
