// Files that were written by an earlier life are checked before their bytes are believed: once,
// whoever reads them and in however many parts. What counts is what the node, this process and the
// commands that it ran really read.
#include <functional>
#include <vector>

#include "cluster_fixture.h"

namespace mempool::test {
namespace {

class CheckedOnceTest : public ClusterTest {
 protected:
  static constexpr std::uint64_t kBytes = 16 * kMiB;
  // Headers, libraries, and what else a process reads.
  static constexpr std::uint64_t kBesides = 2 * kMiB;
  static constexpr std::uint64_t kCommand = 16 * kMiB;  // a command of its own

  void SetUp() override {
    if (bytes_read(::getpid()) == 0)
      GTEST_SKIP() << "SKIPPED: this machine does not count what processes read";
  }

  /// A blob of another node's that is no more.
  FileRef saved(std::uint64_t seed = 1, std::uint64_t bytes = kBytes) {
    Daemon earlier(spill_directory("earlier"), {.max_memsize = "2MiB"});
    auto client = connect(earlier);
    const auto path = directory_ / ("saved" + std::to_string(seed));
    return must(client.savetodisk(set(client, seed, bytes), path));
  }

  /// Of the node, this process, and the programs that it ran.
  static std::uint64_t read_by(const Daemon& node, const std::function<void()>& work) {
    const auto before = bytes_read(node.pid()) + bytes_read(::getpid());
    work();
    return bytes_read(node.pid()) + bytes_read(::getpid()) - before;
  }

  static void read_in_parts(Pool& client, const DRef& ref, std::uint64_t seed = 1) {
    const auto whole = pattern(ref.length, seed);
    Bytes part(kMiB);
    for (std::uint64_t at = 0; at < ref.length; at += part.size()) {
      must(client.poolread(ref, at, part));
      ASSERT_TRUE(same(part, std::span(whole).subspan(at, part.size())));
    }
  }
};

TEST_F(CheckedOnceTest, PartsOfAnAdoptedFile) {
  const auto file = saved();
  Daemon node(spill_directory("a"), {.max_memsize = "2MiB"});
  auto client = connect(node);
  const auto ref = must(client.adopt(file));
  EXPECT_LT(read_by(node, [&] { read_in_parts(client, ref); }), 2 * kBytes + kBesides)
      << "one check, and the bytes themselves";
  EXPECT_GT(gets_by(client, "mapped file"), 10U) << "the owner has told of its check";
}

TEST_F(CheckedOnceTest, PartsReadByManyClients) {
  constexpr std::uint64_t kClients = 10;
  const auto file = saved();
  Daemon node(spill_directory("a"), {.max_memsize = "2MiB"});
  auto first = connect(node);
  const auto ref = must(first.adopt(file));
  const auto whole = pattern(kBytes, 1);
  // Those of this process share what they find; a command knows nothing of it.
  const auto read = read_by(node, [&] {
    for (std::uint64_t i = 0; i < kClients; ++i) {
      auto client = connect(node);
      Bytes part(kMiB);
      must(client.poolread(ref, i * kMiB, part));
      EXPECT_TRUE(same(part, std::span(whole).subspan(i * kMiB, part.size())));
    }
    for (std::uint64_t i = 0; i < 2; ++i)
      EXPECT_EQ(run_cli(node.address(), {"get", ref.to_string(), "-o", directory_ / "copy"}).status,
                0);
  });
  EXPECT_EQ(read_file(directory_ / "copy"), whole);
  EXPECT_LT(read, kBytes + kClients * kMiB + 2 * (kBytes + kCommand) + kBesides)
      << "one check, and what was asked for";
}

TEST_F(CheckedOnceTest, TheCommandLinesGet) {
  const auto file = saved(1, 4 * kBytes);  // eight of its parts
  Daemon node(spill_directory("a"), {.max_memsize = "2MiB"});
  auto client = connect(node);
  const auto ref = must(client.adopt(file));
  const auto get = [&] {
    EXPECT_EQ(run_cli(node.address(), {"get", ref.to_string(), "-o", directory_ / "copy"}).status,
              0);
  };
  EXPECT_LT(read_by(node, get), 2 * ref.length + kCommand + kBesides);
  EXPECT_LT(read_by(node, get), ref.length + kCommand + kBesides) << "the owner remembers";
}

TEST_F(CheckedOnceTest, WholeViewsOfADRefAndOfAFileRef) {
  const auto file = saved();
  Daemon node(spill_directory("a"), {.max_memsize = "2MiB"});
  auto client = connect(node);
  const auto ref = must(client.adopt(file));
  const auto bytes = pattern(kBytes, 1);
  const auto read = read_by(node, [&] {
    for (int i = 0; i < 5; ++i) {
      auto another = connect(node);
      EXPECT_TRUE(same(must(client.poolget(ref)).bytes(), bytes));
      EXPECT_TRUE(same(must(another.poolget(file)).bytes(), bytes));
    }
  });
  EXPECT_LT(read, kBytes + kBesides);
  EXPECT_EQ(gets_by(client, "mapped file"), 5U);
}

TEST_F(CheckedOnceTest, BlobsThatMoveToMemoryAreCheckedOnTheWay) {
  const auto file = saved();
  Daemon node(spill_directory("a"));
  auto client = connect(node);
  const auto ref = must(client.adopt(file));
  EXPECT_LT(read_by(node, [&] { must(client.prefetch(ref)); }), kBytes + kBesides);
  EXPECT_EQ(must(client.poolget(ref)).path(), Path::kSharedMemory);
  EXPECT_TRUE(holds(client, ref, 1));
  // Where readers come first: a check for the first part, and the load for the second.
  const auto other = must(client.adopt(saved(2)));
  EXPECT_LT(read_by(node, [&] { read_in_parts(client, other, 2); }), 2 * kBytes + 2 * kBesides);
}

/// More files than were once remembered, sent in parts by a node that did not write them.
TEST_F(CheckedOnceTest, FileRefsThroughANodeThatDidNotWriteThem) {
  constexpr std::uint64_t kFiles = 20;
  constexpr std::uint64_t kEach = 3 * kMiB;
  if (::geteuid() != 0) GTEST_SKIP() << "SKIPPED: who is not root cannot become nobody";
  const auto port = std::to_string(fixed_port());
  std::vector<FileRef> files;
  {
    Daemon earlier(spill_directory("a"), {"--listen", "127.0.0.1:" + port});
    auto client = connect(earlier);
    for (std::uint64_t seed = 0; seed < kFiles; ++seed)
      files.push_back(must(client.movetodisk(set(client, seed, kEach, {.retain = true}))));
  }
  Daemon node(spill_directory("a"), {"--listen", "127.0.0.1:" + port});
  const auto read = read_by(node, [&] {
    EXPECT_TRUE(in_child([&] {
      become_nobody();  // who may not open the files
      auto client = connect(node);
      for (int round = 0; round < 2; ++round) {
        for (std::uint64_t seed = 0; seed < kFiles; ++seed) {
          const auto view = must(client.poolget(files[seed]));
          EXPECT_EQ(view.path(), Path::kPush);
          EXPECT_TRUE(same(view.bytes(), pattern(kEach, seed)));
        }
      }
    }));
  });
  EXPECT_LT(read, 3 * kFiles * kEach + kBesides) << "each checked once, and sent twice";
}

/// The check goes on when its reader has given up: trying again ends.
TEST_F(CheckedOnceTest, ACheckThatTakesLongerThanACallIsNotBegunAnew) {
  constexpr std::uint64_t kLong = 8 * kBytes;
  const auto file = saved(1, kLong);
  Daemon node(spill_directory("a"), {.max_memsize = "2MiB"});
  auto patient = connect(node);
  const auto ref = must(patient.adopt(file));
  Bytes part(1000);
  int tries = 0;
  const auto read = read_by(node, [&] {
    EXPECT_TRUE(eventually([&] {
      ++tries;
      const auto got = patient.poolread(ref, kLong / 2, part, {.timeout_ms = 20});
      EXPECT_TRUE(got || code(got) == Code::kTimeout) << message(got);
      return got.has_value();
    }));
  });
  const auto bytes = pattern(kLong, 1);
  EXPECT_TRUE(same(part, std::span(bytes).subspan(kLong / 2, part.size())));
  EXPECT_LT(read, kLong + kBesides) << tries << " tries";
}

TEST_F(CheckedOnceTest, WhatIsChangedInPlaceIsCorruptHoweverOftenItWasFoundRight) {
  const auto file = saved();
  Daemon node(spill_directory("a"), {.max_memsize = "2MiB"});
  auto client = connect(node);
  const auto ref = must(client.adopt(file));
  Bytes part(kMiB);
  must(client.poolread(ref, 0, part));
  must(client.poolread(ref, kMiB, part));
  EXPECT_TRUE(holds(client, ref, 1));
  EXPECT_TRUE(same(must(client.poolget(file)).bytes(), pattern(kBytes, 1)));
  let_the_clock_tick();
  flip(file.path, file.offset + kBytes - 1);
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(code(client.poolread(ref, 0, part)), Code::kCorrupt);
    EXPECT_EQ(code(client.poolget(ref)), Code::kCorrupt);
    EXPECT_EQ(code(client.poolget(file)), Code::kCorrupt);
  }
  // Right again, it is believed again: the bytes count.
  flip(file.path, file.offset + kBytes - 1);
  EXPECT_TRUE(holds(client, ref, 1));
  must(client.poolread(ref, 0, part));
}

}  // namespace
}  // namespace mempool::test
