// What takes long: a million gets, one blob larger than memory, a reader that sleeps.
#include <fcntl.h>
#include <sys/mman.h>

#include "cluster_fixture.h"

namespace mempool::test {
namespace {

constexpr std::uint64_t kGiB = std::uint64_t{1} << 30;

/// Two files of some size, read in parts.
bool same_files(const fs::path& a, const fs::path& b) {
  if (fs::file_size(a) != fs::file_size(b)) return false;
  return run({"/usr/bin/cmp", "-s", a.native(), b.native()}, {}, 10min).status == 0;
}

/// WarmGetTest shows it for every path, and a million for shared memory.
TEST_F(ClusterTest, AMillionGetsOverTcpLeaveTheOwnersCountersAlone) {
  if (kSanitized) GTEST_SKIP() << "SKIPPED: they take minutes in this build";
  constexpr std::uint64_t kBlobs = 100, kRounds = 10'000;
  const auto provider = best_tcp_provider();
  Daemon node(spill_directory("a"), {"--provider", provider});
  auto client = connect(node, {provider});
  std::vector<DRef> refs;
  for (std::uint64_t i = 0; i < kBlobs; ++i) refs.push_back(set(client, i, 64));
  const auto before = must(client.stats());
  const auto begin = Clock::now();
  for (std::uint64_t round = 0; round < kRounds; ++round)
    for (const auto& view : client.poolget_all(refs)) ASSERT_TRUE(view);
  const auto took = Clock::now() - begin;
  const auto after = must(client.stats());
  EXPECT_EQ(after.requests_served, before.requests_served + 1) << "which asked for this";
  EXPECT_LE(after.recency_reports, static_cast<std::uint64_t>(took / 100ms) + 2);
  EXPECT_EQ(gets_by(client, "tcp (" + provider + ")"), kRounds * kBlobs);
}

TEST_F(ClusterTest, FiveGibibytesTakeNoMemory) {
  const auto room = fs::space(directory_.path()).available;
  if (room < 16 * kGiB) GTEST_SKIP() << "SKIPPED: less than 16 GiB of disk free here";
  // Sparse but for a pattern every 64 MiB, at odd places, so that misplaced parts show.
  const auto big = directory_ / "big";
  write_file(big, {});
  fs::resize_file(big, 5 * kGiB + 12'345);
  {
    const int fd = ::open(big.c_str(), O_WRONLY | O_CLOEXEC);
    for (std::uint64_t at = 0; at < 5 * kGiB; at += 64 * kMiB + 1001) {
      const auto mark = pattern(100'000, at + 1);
      ASSERT_EQ(::pwrite(fd, mark.data(), mark.size(), static_cast<off_t>(at)),
                static_cast<ssize_t>(mark.size()));
    }
    ::close(fd);
  }
  Daemon node(spill_directory("a"));
  auto client = connect(node);
  const auto measured = [&](const Words& words) {
    Words command{cli_program(), "--node", node.address(), "--timeout-ms", "300000"};
    command.insert(command.end(), words.begin(), words.end());
    Child child(command);
    std::uint64_t anonymous = 0;
    EXPECT_TRUE(eventually(
        [&] {
          anonymous = std::max(anonymous, anonymous_bytes(child.pid()));
          return !child.running();
        },
        10min));
    EXPECT_EQ(child.wait(), (Ended{0, 0})) << child.err();
    EXPECT_LT(anonymous, 512 * kMiB) << words[0] << " holds the blob in memory";
    return last_line(child.out());
  };
  const auto ref = must(DRef::parse(measured({"set", big.native()})));
  EXPECT_EQ(ref.length, 5 * kGiB + 12'345);
  EXPECT_EQ(where(client, ref), "disk");
  EXPECT_LE(store_stats(client).payload_bytes, 64 * kMiB);
  EXPECT_LT(anonymous_bytes(node.pid()), 512 * kMiB);
  const auto out = directory_ / "out";
  measured({"get", ref.to_string(), "-o", out.native()});
  EXPECT_TRUE(same_files(big, out));
  // Mapped pages of the blob's file are the system's cache; they are not counted.
  EXPECT_LT(anonymous_bytes(node.pid()), 512 * kMiB);
  must(client.pooldelete(ref));
  expect_empty(client, node);
}

/// A process that only slept goes on reading its views when it is continued: its lease is no reason
/// to use their memory again.
TEST_F(ClusterTest, AReaderStoppedForLongerThanItsLeaseFindsItsBytes) {
  Daemon node(spill_directory("a"), {.arguments = {"--provider", "shared"}, .max_memsize = "4MiB"});
  auto client = connect(node);
  const auto a = set(client, 1);
  Reader reader(node.address(), {{1, a.to_string()}});
  ASSERT_EQ(reader.out(), "shared memory right\ndone\n");
  reader.child().signal(SIGSTOP);
  must(client.pooldelete(a));
  EXPECT_TRUE(eventually([&] { return must(client.stats()).sessions == 1; }))
      << "its session goes on though it is silent";
  use_all_memory(client);
  EXPECT_TRUE(eventually([&] { return quarantined(client) == kMiB + kHeaderBytes; }));
  reader.child().signal(SIGCONT);
  EXPECT_TRUE(reader.right());
  reader.child().signal(SIGTERM);
  reader.child().wait();
  EXPECT_TRUE(eventually([&] { return quarantined(client) == 0; }));
}

}  // namespace
}  // namespace mempool::test
