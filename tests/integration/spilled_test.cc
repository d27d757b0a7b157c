// Blobs of other processes that are in their files alone: mapped by a reader who sees the file,
// sent to others, and brought to memory when they are read again and again.
#include <atomic>
#include <thread>

#include <fcntl.h>
#include <sys/stat.h>

#include "cluster_fixture.h"

namespace mempool::test {
namespace {

using ::testing::ElementsAre;

class SpilledTest : public ClusterTest {
 protected:
  static DRef spilled(Pool& pool, std::uint64_t seed, std::uint64_t size = kMiB) {
    const auto ref = set(pool, seed, size);
    must(pool.movetodisk(ref));
    return ref;
  }
  static fs::path file_of(Pool& pool, const DRef& ref) { return must(pool.inspect(ref)).file; }
};

TEST_F(SpilledTest, MappedByWhoeverSeesTheFileAndNothingIsEvicted) {
  Daemon node(spill_directory("a"), {.max_memsize = "3MiB"});
  auto client = connect(node);
  const auto a = set(client, 1), b = set(client, 2), c = set(client, 3), d = set(client, 4);
  ASSERT_EQ(where(client, a), "disk");
  EXPECT_EQ(must(client.inspect(a)).path, "mapped file");
  const auto evictions = store_stats(client).evictions;
  const auto view = must(client.poolget(a));
  EXPECT_EQ(view.path(), Path::kMappedFile);
  EXPECT_TRUE(same(view.bytes(), pattern(kMiB, 1)));
  EXPECT_EQ(gets_by(client, "mapped file"), 1U);
  EXPECT_EQ(store_stats(client).evictions, evictions);
  EXPECT_THAT(where_are(client, {a, b, c, d}), ElementsAre("disk", "memory", "memory", "memory"));
}

TEST_F(SpilledTest, PartsComeFromTheFile) {
  Daemon node(spill_directory("a"));
  auto client = connect(node);
  const auto ref = spilled(client, 1, 3 * kMiB + 7);
  Bytes part(12'345);
  must(client.poolread(ref, 2 * kMiB + 1, part));
  const auto whole = pattern(ref.length, 1);
  EXPECT_TRUE(same(part, std::span(whole).subspan(2 * kMiB + 1, part.size())));
  EXPECT_EQ(gets_by(client, "mapped file"), 1U);
  EXPECT_EQ(where(client, ref), "disk");
}

TEST_F(SpilledTest, EmptyBlobsToo) {
  Daemon node(spill_directory("a"));
  auto client = connect(node);
  const auto ref = spilled(client, 1, 0);
  EXPECT_TRUE(holds(client, ref, 1));
  EXPECT_TRUE(holds(client, ref, 1));
}

TEST_F(SpilledTest, DeletedIsNotFoundThoughTheFileWasSeen) {
  Daemon node(spill_directory("a"));
  auto client = connect(node);
  auto other = connect(node);
  const auto ref = spilled(client, 1);
  const auto view = must(client.poolget(ref));
  ASSERT_EQ(view.path(), Path::kMappedFile);
  // Also where the file stays.
  const auto retained = set(client, 2, kMiB, {.retain = true});
  must(client.movetodisk(retained));
  const auto file = file_of(client, retained);
  ASSERT_EQ(must(client.poolget(retained)).path(), Path::kMappedFile);
  for (const auto& gone : {ref, retained}) {
    must(other.pooldelete(gone));
    Bytes out(1);
    EXPECT_EQ(code(client.poolget(gone)), Code::kNotFound);
    EXPECT_EQ(code(client.poolread(gone, 0, out)), Code::kNotFound);
  }
  EXPECT_TRUE(fs::exists(file));
  EXPECT_TRUE(same(view.bytes(), pattern(kMiB, 1))) << "what is shown stays";
}

TEST_F(SpilledTest, TheSecondReadBringsItToMemoryAndTheThirdAsksNobody) {
  Daemon node(spill_directory("a"));
  auto client = connect(node);
  const auto ref = spilled(client, 1);
  EXPECT_EQ(must(client.poolget(ref)).path(), Path::kMappedFile);
  EXPECT_EQ(where(client, ref), "disk");
  EXPECT_EQ(must(client.poolget(ref)).path(), Path::kSharedMemory);
  EXPECT_EQ(where(client, ref), "both");
  const auto before = must(client.stats()).requests_served;
  for (int i = 0; i < 100; ++i) EXPECT_TRUE(holds(client, ref, 1));
  EXPECT_EQ(must(client.stats()).requests_served, before + 1) << "of which one asked for this";
}

TEST_F(SpilledTest, WithoutRoomItIsReadFromTheFileAgainAndAgain) {
  Daemon node(spill_directory("a"), {.max_memsize = "2MiB"});
  auto client = connect(node);
  const auto ref = set(client, 1, 5 * kMiB);
  ASSERT_EQ(where(client, ref), "disk");
  const auto other = set(client, 2, 2 * kMiB);
  for (int i = 0; i < 5; ++i) {
    const auto view = must(client.poolget(ref));
    EXPECT_EQ(view.path(), Path::kMappedFile);
    EXPECT_TRUE(same(view.bytes(), pattern(5 * kMiB, 1)));
  }
  EXPECT_EQ(where(client, other), "memory") << "nothing had to go for it";
}

TEST_F(SpilledTest, ReadersAtOnceCauseOneLoad) {
  constexpr std::uint64_t kBytes = 24 * kMiB;
  Daemon node(spill_directory("a"));
  if (bytes_read(node.pid()) == 0)
    GTEST_SKIP() << "SKIPPED: this machine does not count what processes read";
  auto client = connect(node);
  const auto ref = spilled(client, 1, kBytes);
  must(client.poolget(ref));  // the next one loads
  const auto before = bytes_read(node.pid());
  constexpr int kReaders = 6;
  std::vector<Pool> pools;
  for (int i = 0; i < kReaders; ++i) pools.push_back(connect(node));
  std::atomic<int> ready{0};
  std::vector<std::thread> threads;
  for (auto& pool : pools)
    threads.emplace_back([&] {
      ++ready;
      EXPECT_TRUE(eventually([&] { return ready == kReaders; }));
      // Some wait for the load, the others do not: that would take all of the node's workers.
      const auto view = must(pool.poolget(ref));
      EXPECT_THAT(view.path(), ::testing::AnyOf(Path::kSharedMemory, Path::kMappedFile));
      EXPECT_TRUE(same(view.bytes(), pattern(kBytes, 1)));
    });
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(must(client.poolget(ref)).path(), Path::kSharedMemory);
  const auto read = bytes_read(node.pid()) - before;
  EXPECT_GE(read, kBytes);
  EXPECT_LT(read, kBytes + kBytes / 2) << "it was read more than once";
  EXPECT_EQ(store_stats(client).payload_bytes, kBytes);
}

// ---- readers that do not see the file ----

TEST_F(SpilledTest, SentToAReaderInAnotherMountNamespace) {
  const auto spill = spill_directory("a").native();
  fs::create_directories(spill);
  const Words own_mounts{"/usr/bin/unshare", "-m", "/bin/sh", "-c",
                         "mount -t tmpfs tmpfs " + spill + " && exec \"$0\" \"$@\""};
  auto attempt = own_mounts;
  attempt.push_back("/bin/true");
  if (Child(attempt).wait() != Ended{0, 0})
    GTEST_SKIP() << "SKIPPED: mount namespaces are not allowed here";
  Daemon node(spill, {.prefix = own_mounts, .max_memsize = "3MiB"});
  auto client = connect(node);
  const auto a = set(client, 1), b = set(client, 2), c = set(client, 3), d = set(client, 4);
  ASSERT_EQ(where(client, a), "disk");
  ASSERT_FALSE(fs::exists(file_of(client, a)));
  EXPECT_EQ(must(client.inspect(a)).path, "push");
  // A file of that name that is another's brings nothing.
  fs::create_directories(file_of(client, a).parent_path());
  write_file(file_of(client, a), pattern(kMiB + 4096, 9));
  const auto view = must(client.poolget(a));
  EXPECT_EQ(view.path(), Path::kPush);
  EXPECT_TRUE(same(view.bytes(), pattern(kMiB, 1)));
  EXPECT_THAT(where_are(client, {a, b, c, d}), ElementsAre("disk", "memory", "memory", "memory"));
  EXPECT_EQ(must(client.poolget(a)).path(), Path::kSharedMemory) << "the second read loads it";
  EXPECT_TRUE(holds(client, a, 1));
}

TEST_F(SpilledTest, SentToAReaderWhoMayNotReadTheFile) {
  Daemon node(spill_directory("a"));
  std::string text;
  {
    auto client = connect(node);
    const auto ref = spilled(client, 1);
    text = ref.to_string();
    // To root every file is readable: the reader is somebody else then.
    if (::geteuid() != 0) fs::permissions(file_of(client, ref), fs::perms::none);
  }
  Reader::Options options{.hold = false};
  if (::geteuid() == 0) options.prefix = {"/usr/bin/setpriv", "--reuid=65534", "--clear-groups"};
  if (!options.prefix.empty() && Child({options.prefix[0], "--reuid=65534", "--clear-groups",
                                        "/usr/bin/test", "-x", reader_program()})
                                         .wait() != Ended{0, 0})
    GTEST_SKIP() << "SKIPPED: nobody else may run the built programs here";
  Reader reader(node.address(), {{1, text}}, options);
  EXPECT_EQ(reader.out(), "push right\ndone\n");
}

// ---- files that change ----

TEST_F(SpilledTest, ATouchedFileIsVerifiedAgainAndRight) {
  Daemon node(spill_directory("a"));
  auto client = connect(node);
  const auto ref = spilled(client, 1);
  let_the_clock_tick();
  const auto file = file_of(client, ref);
  ASSERT_EQ(::utimensat(AT_FDCWD, file.c_str(), nullptr, 0), 0);
  const auto view = must(client.poolget(ref));
  EXPECT_EQ(view.path(), Path::kMappedFile);
  EXPECT_TRUE(same(view.bytes(), pattern(kMiB, 1)));
}

TEST_F(SpilledTest, ADamagedFileIsCorruptForWhoeverReadsIt) {
  Daemon node(spill_directory("a"));
  for (const auto* paths : {"auto", "files", "shared", "push"}) {
    auto client = connect(node, {paths});
    const auto ref = spilled(client, 1);
    let_the_clock_tick();
    flip(file_of(client, ref), 4096 + kMiB / 2);
    for (int i = 0; i < 3; ++i) {
      Bytes out(100);
      EXPECT_EQ(code(client.poolget(ref)), Code::kCorrupt) << paths;
      EXPECT_EQ(code(client.poolread(ref, 0, out)), Code::kCorrupt) << paths;
    }
    must(client.pooldelete(ref));
  }
}

/// The file of another blob, whole and valid, in the place of this one's.
TEST_F(SpilledTest, AnotherBlobsFileIsNotTakenForIt) {
  Daemon node(spill_directory("a"));
  auto client = connect(node);
  const auto a = spilled(client, 1), b = spilled(client, 2);
  fs::copy_file(file_of(client, b), file_of(client, a), fs::copy_options::overwrite_existing);
  EXPECT_EQ(code(client.poolget(a)), Code::kCorrupt);
  EXPECT_TRUE(holds(client, b, 2));
}

}  // namespace
}  // namespace mempool::test
