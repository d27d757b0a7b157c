// Blobs and their files: move, copy, save, adopt, prefetch, damage.
#include <atomic>
#include <thread>

#include "pool_fixture.h"

namespace mempool::test {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

TEST_F(PoolTest, C42_FreshBlobIsInMemoryAndNotOnDisk) {
  auto pool = must(Pool::open(options()));
  const auto info = must(pool.inspect(set(pool, 1)));
  EXPECT_TRUE(info.in_memory);
  EXPECT_FALSE(info.on_disk);
  EXPECT_EQ(info.file, "");
  EXPECT_THAT(blob_files(), IsEmpty());
}

TEST_F(PoolTest, C45_AllWhoWaitGetTheErrorAndTheStateStays) {
  auto pool = must(Pool::open(options()));
  const auto ref = set(pool, 1);
  constexpr std::size_t kCallers = 8;
  std::vector<Code> codes(kCallers);
  {
    const BrokenDisk broken(session_directory(pool));
    std::vector<std::thread> callers;
    for (auto& result : codes) callers.emplace_back([&] { result = code(pool.movetodisk(ref)); });
    for (auto& caller : callers) caller.join();
  }
  EXPECT_THAT(codes, Each(Code::kIo));
  EXPECT_EQ(where(pool, ref), "memory");
  EXPECT_TRUE(holds(pool, ref, 1));
  const auto file = must(pool.movetodisk(ref));
  EXPECT_EQ(where(pool, ref), "disk");
  EXPECT_TRUE(same(must(pool.poolget(file)).bytes(), pattern(kMiB, 1)));
}

TEST_F(PoolTest, C48_CleanCopyIsMappedAndNotWrittenAgain) {
  auto pool = must(Pool::open(options(2 * kMiB)));
  const auto a = set(pool, 1);
  const auto file = must(pool.copytodisk(a));
  EXPECT_EQ(where(pool, a), "both");
  set(pool, 2);
  set(pool, 3);
  ASSERT_EQ(where(pool, a), "disk");
  const auto written = fs::last_write_time(file.path);
  const auto spilled = store_stats(pool).spilled_bytes;
  {
    const auto view = must(pool.poolget(a));
    EXPECT_EQ(view.path(), Path::kMappedFile);
    EXPECT_TRUE(same(view.bytes(), pattern(kMiB, 1)));
  }
  set(pool, 4);
  set(pool, 5);
  ASSERT_EQ(where(pool, a), "disk");
  EXPECT_EQ(fs::last_write_time(file.path), written);
  // Two of the others were spilled at most; a was not written again.
  EXPECT_LE(store_stats(pool).spilled_bytes - spilled, 3 * kMiB);
  EXPECT_EQ(must(pool.inspect(a)).file, file.path);
  EXPECT_TRUE(holds(pool, a, 1));
}

TEST_F(PoolTest, C50_RetainKeepsTheFile) {
  FileRef file;
  {
    auto pool = must(Pool::open(options()));
    const auto ref = set(pool, 1, kMiB, {.retain = true});
    file = must(pool.movetodisk(ref));
    must(pool.pooldelete(ref));
    EXPECT_EQ(code(pool.poolget(ref)), Code::kNotFound);
    EXPECT_TRUE(same(must(pool.poolget(file)).bytes(), pattern(kMiB, 1)));
  }
  EXPECT_TRUE(fs::exists(file.path));
}

TEST_F(PoolTest, C54_AdoptedFileIsReadByTheFirstGet) {
  auto pool = must(Pool::open(options()));
  const auto source = set(pool, 1, kMiB, {.type_name = "Matrix"});
  const auto good = must(pool.savetodisk(source, directory_ / "good.blob"));
  const auto bad = must(pool.savetodisk(source, directory_ / "bad.blob"));
  flip(bad.path, bad.offset + 12345);

  const auto adopted = must(pool.adopt(good));
  EXPECT_EQ(where(pool, adopted), "disk");
  EXPECT_EQ(must(pool.inspect(adopted)).type_name, "Matrix");
  EXPECT_TRUE(holds(pool, adopted, 1));
  // Adoption does not read, so that it does not see the damage; the get does.
  const auto damaged = must(pool.adopt(bad));
  EXPECT_EQ(code(pool.poolget(damaged)), Code::kCorrupt);

  must(pool.pooldelete(adopted));
  must(pool.pooldelete(damaged));
  EXPECT_TRUE(fs::exists(good.path)) << "the file is the caller's";
  EXPECT_EQ(code(pool.adopt({.path = directory_ / "none"})), Code::kNotFound);
}

TEST_F(PoolTest, C55_RepeatedCallsSucceedOrSaySo) {
  auto pool = must(Pool::open(options()));
  const auto ref = set(pool, 1);
  const auto copied = must(pool.copytodisk(ref));
  EXPECT_EQ(must(pool.copytodisk(ref)), copied);
  EXPECT_EQ(where(pool, ref), "both");
  EXPECT_EQ(must(pool.movetodisk(ref)), copied);
  EXPECT_EQ(where(pool, ref), "disk");
  EXPECT_EQ(must(pool.movetodisk(ref)), copied);
  EXPECT_THAT(blob_files(), ElementsAre(fs::path(copied.path)));
  EXPECT_TRUE(holds(pool, ref, 1));
  EXPECT_EQ(must(pool.movetodisk(ref)), copied);
  must(pool.pooldelete(ref));
  EXPECT_EQ(code(pool.pooldelete(ref)), Code::kNotFound);
  EXPECT_EQ(code(pool.movetodisk(ref)), Code::kNotFound);
  EXPECT_EQ(code(pool.copytodisk(ref)), Code::kNotFound);
  EXPECT_THAT(blob_files(), IsEmpty());
  EXPECT_EQ(store_stats(pool).disk_bytes, 0U);
}

TEST_F(PoolTest, C55_CallsThatMeetLeaveNoOrphan) {
  auto pool = must(Pool::open(options()));
  for (std::uint64_t round = 0; round < 50; ++round) {
    const auto ref = set(pool, round, 64 * 1024);
    std::atomic<int> deleted{0};
    std::vector<std::thread> callers;
    for (int i = 0; i < 2; ++i) {
      callers.emplace_back([&] { (void)pool.movetodisk(ref); });
      callers.emplace_back([&] { (void)pool.copytodisk(ref); });
      callers.emplace_back([&] { (void)pool.poolget(ref); });
      callers.emplace_back([&] { deleted += pool.pooldelete(ref) ? 1 : 0; });
    }
    for (auto& caller : callers) caller.join();
    ASSERT_EQ(deleted, 1);
  }
  EXPECT_THAT(blob_files(), IsEmpty());
  EXPECT_THAT(temporary_files(), IsEmpty());
  EXPECT_EQ(store_stats(pool).disk_bytes, 0U);
  EXPECT_EQ(store_stats(pool).payload_bytes, 0U);
}

TEST_F(PoolTest, C56_PrefetchMakesResident) {
  auto pool = must(Pool::open(options()));
  const auto ref = set(pool, 1);
  must(pool.movetodisk(ref));
  ASSERT_EQ(where(pool, ref), "disk");
  must(pool.prefetch(ref));
  EXPECT_EQ(where(pool, ref), "both");
  EXPECT_EQ(must(pool.poolget(ref)).path(), Path::kInProcess);
  EXPECT_TRUE(holds(pool, ref, 1));
  must(pool.prefetch(ref));
}

TEST_F(PoolTest, C84_DamagedFileIsCorruptAndNeverOtherBytes) {
  auto pool = must(Pool::open(options()));
  const auto other = must(pool.savetodisk(set(pool, 99), directory_ / "other.blob"));
  const auto damage = [&](auto spoil) {
    const auto ref = set(pool, 1);
    const auto file = must(pool.movetodisk(ref));
    let_the_clock_tick();
    spoil(fs::path(file.path));
    EXPECT_EQ(code(pool.poolget(ref)), Code::kCorrupt);
    EXPECT_EQ(code(pool.poolget(file)), Code::kCorrupt);
    EXPECT_EQ(code(pool.prefetch(ref)), Code::kCorrupt);
    Bytes out(10);
    EXPECT_EQ(code(pool.poolread(ref, 0, out)), Code::kCorrupt);
    const auto saved = pool.savetodisk(ref, directory_ / "copy.blob");
    EXPECT_EQ(code(saved), Code::kCorrupt);
    EXPECT_FALSE(fs::exists(directory_ / "copy.blob"));
    must(pool.pooldelete(ref));
  };
  damage([](const fs::path& file) { fs::resize_file(file, 4096 + kMiB / 2); });
  damage([](const fs::path& file) { fs::resize_file(file, 100); });
  damage([](const fs::path& file) { fs::resize_file(file, 0); });
  damage([](const fs::path& file) { fs::resize_file(file, 4096 + kMiB + 1); });
  for (std::uint64_t at : {0U, 7U, 100U, 3000U, 4095U, 4096U, 500'000U})
    damage([at](const fs::path& file) { flip(file, at, 0x10); });
  damage([](const fs::path& file) { flip(file, 4095 + kMiB, 1); });
  damage([&](const fs::path& file) {
    fs::copy_file(other.path, file, fs::copy_options::overwrite_existing);
  });
  damage([](const fs::path& file) { write_file(file, pattern(4096 + kMiB, 7)); });
  EXPECT_EQ(store_stats(pool).disk_bytes, 0U);
}

TEST_F(PoolTest, C84_FileThatIsGoneIsNotTheBlobsEnd) {
  auto pool = must(Pool::open(options()));
  const auto ref = set(pool, 1);
  const auto file = must(pool.copytodisk(ref));
  fs::remove(file.path);
  EXPECT_TRUE(holds(pool, ref, 1)) << "the copy in memory is whole";
  EXPECT_EQ(code(pool.poolget(file)), Code::kNotFound);
  must(pool.pooldelete(ref));
  EXPECT_EQ(store_stats(pool).disk_bytes, 0U);
}

TEST_F(PoolTest, C84_ForeignFileIsCorrupt) {
  auto pool = must(Pool::open(options()));
  write_file(directory_ / "foreign", bytes_of("a text that nobody wrote as a blob"));
  write_file(directory_ / "empty", {});
  write_file(directory_ / "long", pattern(10'000));
  for (const char* name : {"foreign", "empty", "long"}) {
    const FileRef ref{(directory_ / name).native(), 4096, 10, {1, 2, 3, 4}};
    EXPECT_EQ(code(pool.poolget(ref)), Code::kCorrupt) << name;
    EXPECT_EQ(code(pool.adopt(ref)), Code::kCorrupt) << name;
  }
  const FileRef folder{directory_.path().native(), 4096, 10, {1, 2, 3, 4}};
  EXPECT_EQ(code(pool.poolget(folder)), Code::kCorrupt);
}

TEST_F(PoolTest, C84_FileRefMustNameTheFilesBlob) {
  auto pool = must(Pool::open(options()));
  const auto good = must(pool.savetodisk(set(pool, 1), directory_ / "good.blob"));
  const auto refused = [&](auto change) {
    FileRef forged = good;
    change(forged);
    return code(pool.poolget(forged)) == Code::kCorrupt;
  };
  EXPECT_TRUE(refused([](FileRef& f) { f.length -= 1; }));
  EXPECT_TRUE(refused([](FileRef& f) { f.length = ~0ULL; }));
  EXPECT_TRUE(refused([](FileRef& f) { f.offset = 0; }));
  EXPECT_TRUE(refused([](FileRef& f) { f.id.object += 1; }));
  EXPECT_TRUE(refused([](FileRef& f) { f.id.node += 1; }));
  EXPECT_TRUE(refused([](FileRef& f) { f.id.incarnation += 1; }));
  EXPECT_TRUE(refused([](FileRef& f) { f.id.cluster += 1; }));
}

TEST_F(PoolTest, C85_DeletedWithItsFile) {
  auto pool = must(Pool::open(options()));
  const auto ref = set(pool, 1);
  const auto file = must(pool.movetodisk(ref));
  must(pool.pooldelete(ref));
  EXPECT_EQ(code(pool.poolget(ref)), Code::kNotFound);
  EXPECT_EQ(code(pool.poolget(file)), Code::kNotFound);
  EXPECT_THAT(blob_files(), IsEmpty());
}

TEST_F(PoolTest, C86_MoveCopyAndSave) {
  auto pool = must(Pool::open(options()));
  auto reader = must(Pool::open(options()));
  const auto moved = set(pool, 1);
  const auto moved_file = must(pool.movetodisk(moved));
  EXPECT_EQ(where(pool, moved), "disk");
  EXPECT_TRUE(same(must(reader.poolget(moved_file)).bytes(), pattern(kMiB, 1)));

  const auto copied = set(pool, 2);
  const auto copied_file = must(pool.copytodisk(copied));
  EXPECT_EQ(where(pool, copied), "both");
  EXPECT_TRUE(same(must(reader.poolget(copied_file)).bytes(), pattern(kMiB, 2)));

  const auto path = directory_ / "saved.blob";
  const auto saved = must(pool.savetodisk(copied, path));
  EXPECT_EQ(saved.path, path.native());
  EXPECT_EQ(code(pool.savetodisk(moved, path)), Code::kExists);
  EXPECT_TRUE(same(must(reader.poolget(saved)).bytes(), pattern(kMiB, 2)));
  must(pool.pooldelete(copied));
  EXPECT_TRUE(same(must(reader.poolget(saved)).bytes(), pattern(kMiB, 2)));

  const auto replaced = must(pool.savetodisk(moved, path, {.overwrite = true}));
  EXPECT_TRUE(same(must(reader.poolget(replaced)).bytes(), pattern(kMiB, 1)));
  EXPECT_EQ(code(reader.poolget(saved)), Code::kCorrupt) << "the path names another blob now";
  EXPECT_EQ(code(pool.savetodisk(moved, directory_ / "no" / "such" / "place")), Code::kNotFound);
}

TEST_F(PoolTest, C86_SavingDoesNotChangeTheOrder) {
  auto pool = must(Pool::open(options(2 * kMiB)));
  const auto a = set(pool, 1), b = set(pool, 2);
  must(pool.savetodisk(a, directory_ / "a.blob"));
  set(pool, 3);
  EXPECT_THAT(where_are(pool, {a, b}), ElementsAre("disk", "memory"));
}

TEST_F(PoolTest, EmptyBlobTakesEveryWay) {
  auto pool = must(Pool::open(options()));
  const auto ref = set(pool, 1, 0);
  EXPECT_EQ(must(pool.poolget(ref)).size(), 0U);
  const auto file = must(pool.movetodisk(ref));
  EXPECT_EQ(must(pool.poolget(file)).size(), 0U);
  EXPECT_EQ(must(pool.poolget(ref)).size(), 0U);
  must(pool.prefetch(ref));
  const auto saved = must(pool.savetodisk(ref, directory_ / "empty.blob"));
  EXPECT_EQ(must(pool.poolget(must(pool.adopt(saved)))).size(), 0U);
  must(pool.pooldelete(ref));
  EXPECT_EQ(code(pool.poolget(ref)), Code::kNotFound);
}

}  // namespace
}  // namespace mempool::test
