// Blobs of other nodes on disk, over each way to them; what a node leaves behind.
#include "cluster_fixture.h"

namespace mempool::test {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class DiskTest : public ProviderTest {};
INSTANTIATE_TEST_SUITE_P(Over, DiskTest,
                         ::testing::Values("best", "sockets", "verbs", "shared", "files"),
                         provider_name);

std::vector<fs::path> blobs_of(const Daemon& node) {
  return files_below(node.spill_directory(), ".blob");
}

TEST_P(DiskTest, C48_DroppedCopyReadsBackAndTheFileStays) {
  Daemon node(spill_directory("a"), {.arguments = only(), .max_memsize = "2MiB"});
  auto client = client_of(node);
  const auto a = set(client, 1);
  const auto file = must(client.copytodisk(a));
  set(client, 2);
  set(client, 3);
  ASSERT_EQ(where(client, a), "disk");
  const auto written = fs::last_write_time(file.path);
  EXPECT_TRUE(holds(client, a, 1));
  set(client, 4);
  set(client, 5);
  ASSERT_EQ(where(client, a), "disk");
  EXPECT_EQ(fs::last_write_time(file.path), written);
  EXPECT_EQ(must(client.inspect(a)).file, file.path);
  EXPECT_TRUE(holds(client, a, 1));
}

TEST_P(DiskTest, C50_RetainKeepsTheFile) {
  FileRef file;
  {
    Daemon node(spill_directory("a"), only());
    auto client = client_of(node);
    const auto ref = set(client, 1, kMiB, {.retain = true});
    file = must(client.movetodisk(ref));
    must(client.pooldelete(ref));
    EXPECT_EQ(code(client.poolget(ref)), Code::kNotFound);
    EXPECT_TRUE(same(must(client.poolget(file)).bytes(), pattern(kMiB, 1)));
  }
  EXPECT_TRUE(fs::exists(file.path)) << "the node's end does not remove it";
}

TEST_P(DiskTest, C54_AdoptedFileIsReadByTheFirstGet) {
  Daemon node(spill_directory("a"), only());
  auto client = client_of(node);
  const auto source = set(client, 1, kMiB, {.type_name = "Matrix"});
  const auto good = must(client.savetodisk(source, directory_ / "good.blob"));
  const auto bad = must(client.savetodisk(source, directory_ / "bad.blob"));
  flip(bad.path, bad.offset + 777);
  const auto adopted = must(client.adopt(good));
  EXPECT_EQ(adopted.id.node, node.node_id());
  EXPECT_EQ(where(client, adopted), "disk");
  EXPECT_EQ(must(client.inspect(adopted)).type_name, "Matrix");
  EXPECT_TRUE(holds(client, adopted, 1));
  const auto damaged = must(client.adopt(bad));
  EXPECT_EQ(code(client.poolget(damaged)), Code::kCorrupt);
  must(client.pooldelete(adopted));
  EXPECT_TRUE(fs::exists(good.path));
  FileRef missing = good;
  missing.path += ".none";
  EXPECT_EQ(code(client.adopt(missing)), Code::kNotFound);
}

TEST_P(DiskTest, C55_RepeatedCallsSucceedOrSaySo) {
  Daemon node(spill_directory("a"), only());
  auto client = client_of(node);
  auto other = client_of(node);
  const auto ref = set(client, 1);
  const auto copied = must(client.copytodisk(ref));
  EXPECT_EQ(must(other.copytodisk(ref)), copied);
  EXPECT_EQ(where(client, ref), "both");
  EXPECT_EQ(must(other.movetodisk(ref)), copied);
  EXPECT_EQ(must(client.movetodisk(ref)), copied);
  EXPECT_EQ(where(client, ref), "disk");
  EXPECT_THAT(blobs_of(node), ElementsAre(fs::path(copied.path)));
  must(other.pooldelete(ref));
  EXPECT_EQ(code(client.pooldelete(ref)), Code::kNotFound);
  EXPECT_EQ(code(client.movetodisk(ref)), Code::kNotFound);
  expect_empty(client, node);
}

TEST_P(DiskTest, C56_PrefetchMakesResident) {
  Daemon node(spill_directory("a"), only());
  auto client = client_of(node);
  const auto ref = set(client, 1);
  must(client.movetodisk(ref));
  ASSERT_EQ(where(client, ref), "disk");
  must(client.prefetch(ref));
  EXPECT_EQ(where(client, ref), "both");
  // Resident also means that it is read one-sidedly.
  const auto view = must(client.poolget(ref));
  EXPECT_EQ(view.path(), kind());
  EXPECT_TRUE(same(view.bytes(), pattern(kMiB, 1)));
}

TEST_P(DiskTest, C84_DamagedFileIsCorruptAndNeverOtherBytes) {
  Daemon node(spill_directory("a"), only());
  auto client = client_of(node);
  const auto damage = [&](auto spoil) {
    const auto ref = set(client, 1, 3 * kMiB);
    const auto file = must(client.movetodisk(ref));
    let_the_clock_tick();
    spoil(fs::path(file.path));
    EXPECT_EQ(code(client.poolget(ref)), Code::kCorrupt);
    EXPECT_EQ(code(client.poolget(file)), Code::kCorrupt);
    EXPECT_EQ(code(client.prefetch(ref)), Code::kCorrupt);
    EXPECT_EQ(code(client.savetodisk(ref, directory_ / "copy")), Code::kCorrupt);
    EXPECT_FALSE(fs::exists(directory_ / "copy"));
    must(client.pooldelete(ref));
  };
  damage([](const fs::path& file) { fs::resize_file(file, kMiB); });
  damage([](const fs::path& file) { fs::resize_file(file, 10); });
  damage([](const fs::path& file) { flip(file, 50); });
  damage([](const fs::path& file) { flip(file, 2 * kMiB); });
  damage([](const fs::path& file) { write_file(file, bytes_of("something else")); });
  // The node goes on.
  EXPECT_TRUE(holds(client, set(client, 5), 5));
}

TEST_P(DiskTest, C85_DeleteFromANodeThatIsNotTheOwner) {
  Daemon node(spill_directory("b"), only());
  auto a = node_here(node);
  auto client = client_of(node);
  const auto ref = set(client, 1);
  const auto file = must(client.copytodisk(ref));
  must(a.pooldelete(ref));
  EXPECT_EQ(code(client.poolget(ref)), Code::kNotFound);
  EXPECT_EQ(code(a.poolget(ref)), Code::kNotFound);
  EXPECT_EQ(code(client.poolget(file)), Code::kNotFound);
  EXPECT_THAT(blobs_of(node), IsEmpty());
  expect_empty(client, node);
}

TEST_P(DiskTest, C86_MoveCopyAndSaveFromElsewhere) {
  Daemon node(spill_directory("b"), only());
  auto a = node_here(node);

  const auto moved = set(a, 1, kMiB, {.node = node.node_id()});
  const auto moved_file = must(a.movetodisk(moved));
  EXPECT_EQ(where(a, moved), "disk");
  const auto copied = set(a, 2, kMiB, {.node = node.node_id()});
  const auto copied_file = must(a.copytodisk(copied));
  EXPECT_EQ(where(a, copied), "both") << "copying keeps the memory";
  EXPECT_THAT(blobs_of(node), SizeIs(2));

  // Any process of that file system reads the files: here another program, without the owner's
  // help.
  const auto out = directory_ / "out";
  for (const auto& [file, seed] : {std::pair(moved_file, 1), std::pair(copied_file, 2)}) {
    const auto ran = run_cli(node.address(), {"get", file.to_string(), "-o", out.native()});
    EXPECT_EQ(ran.status, 0) << ran.err;
    EXPECT_TRUE(same(read_file(out), pattern(kMiB, static_cast<std::uint64_t>(seed))));
    EXPECT_EQ(must(a.poolget(file)).path(), Path::kMappedFile);
  }

  const auto saved = must(a.savetodisk(copied, directory_ / "saved.blob"));
  EXPECT_EQ(code(a.savetodisk(moved, saved.path)), Code::kExists);
  must(a.pooldelete(copied));
  node.stop();
  EXPECT_TRUE(same(must(a.poolget(saved)).bytes(), pattern(kMiB, 2)));
}

TEST_P(DiskTest, C86_FileThatOnlyItsWriterSeesIsSent) {
  // The node has its spill directory in a mount namespace of its own: the client does not find it.
  const auto spill = spill_directory("a").native();
  fs::create_directories(spill);
  const Words own_mounts{"/usr/bin/unshare", "-m", "/bin/sh", "-c",
                         "mount -t tmpfs tmpfs " + spill + " && exec \"$0\" \"$@\""};
  auto attempt = own_mounts;
  attempt.push_back("/bin/true");
  if (Child(attempt).wait() != Ended{0, 0})
    GTEST_SKIP() << "SKIPPED: mount namespaces are not allowed here";
  Daemon node(spill, {.arguments = only(), .prefix = own_mounts});
  auto client = client_of(node);
  for (std::uint64_t size : {3 * kMiB + 11, std::uint64_t{0}}) {
    const auto file = must(client.movetodisk(set(client, size, size)));
    ASSERT_FALSE(fs::exists(file.path));
    const auto view = must(client.poolget(file));
    EXPECT_EQ(view.path(), Path::kPush);
    EXPECT_TRUE(same(view.bytes(), pattern(size, size)));

    // A reference that does not name that very blob brings nothing.
    for (auto change :
         {+[](FileRef& f) { f.length += 1; }, +[](FileRef& f) { f.length = ~0ULL; },
          +[](FileRef& f) { f.id.object += 1; }, +[](FileRef& f) { f.offset = 0; },
          +[](FileRef& f) { f.id.incarnation += 1; }, +[](FileRef& f) { f.path += ".none"; }}) {
      FileRef forged = file;
      change(forged);
      const auto got = client.poolget(forged);
      EXPECT_FALSE(got) << forged.to_string();
    }
  }
  // Nor can anything else be read through the node.
  FileRef passwords = must(client.movetodisk(set(client, 1)));
  passwords.path = "/etc/hostname-of-the-node-alone";
  EXPECT_EQ(code(client.poolget(passwords)), Code::kNotFound);
}

TEST_F(ClusterTest, C91_CleanExitRemovesTheSessionAndACrashIsSwept) {
  FileRef retained;
  FileRef saved;
  {
    Daemon node(spill_directory("a"));
    auto client = connect(node);
    must(client.movetodisk(set(client, 1)));
    retained = must(client.movetodisk(set(client, 2, kMiB, {.retain = true})));
    saved = must(client.savetodisk(set(client, 3), directory_ / "saved.blob"));
    EXPECT_THAT(blobs_of(node), SizeIs(2));
  }
  EXPECT_THAT(files_below(spill_directory("a"), ".blob"), ElementsAre(fs::path(retained.path)));
  EXPECT_TRUE(fs::exists(saved.path));

  Daemon crashing(spill_directory("a"));
  {
    auto client = connect(crashing);
    must(client.movetodisk(set(client, 4)));
  }
  crashing.kill9();
  EXPECT_THAT(files_below(spill_directory("a"), ".blob"), SizeIs(2));
  Daemon next(spill_directory("a"));
  EXPECT_THAT(blobs_of(next), ElementsAre(fs::path(retained.path)));
  auto client = connect(next);
  EXPECT_TRUE(same(must(client.poolget(retained)).bytes(), pattern(kMiB, 2)));
  EXPECT_TRUE(same(must(client.poolget(saved)).bytes(), pattern(kMiB, 3)));
}

TEST_F(ClusterTest, C91_NodesThatShareADirectoryLeaveEachOtherAlone) {
  Daemon a(spill_directory("shared"));
  auto client = connect(a);
  const auto ref = set(client, 1);
  must(client.movetodisk(ref));
  {
    Daemon b(spill_directory("shared"));
    auto other = connect(b);
    must(other.movetodisk(set(other, 2)));
    EXPECT_THAT(blobs_of(a), SizeIs(2));
  }
  EXPECT_THAT(blobs_of(a), SizeIs(1));
  EXPECT_TRUE(holds(client, ref, 1));
}

}  // namespace
}  // namespace mempool::test
