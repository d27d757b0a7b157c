// Reading: whatever happens to a file, the answer is its own bytes or an error.
#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <fstream>
#include <thread>

#include <sys/mman.h>
#include <sys/resource.h>
#include <utime.h>

#include "support.h"

namespace mempool::spill {
namespace {

using namespace test;

std::vector<std::byte> mapped(const File& file) {
  const auto mapping = file.map();
  EXPECT_TRUE(mapping) << message(mapping);
  return mapping ? copy_of(mapping->payload()) : std::vector<std::byte>{};
}

// What map, read and a new open say; they must agree that the file is damaged.
void expect_corrupt(const File& file, const fs::path& path) {
  const auto mapping = file.map();
  EXPECT_EQ(code(mapping), Code::kCorrupt) << message(mapping);
  EXPECT_NE(message(mapping).find(path.native()), std::string::npos) << message(mapping);
  std::vector<std::byte> out(file.ref().length);
  EXPECT_EQ(code(file.read(0, out)), Code::kCorrupt);
  const auto opened = File::open(file.ref());
  if (opened) {
    EXPECT_EQ(code(opened->map()), Code::kCorrupt);
  }
  if (!opened) {
    EXPECT_EQ(code(opened), Code::kCorrupt) << message(opened);
  }
}

TEST(SpillFile, C84_EveryFlippedByteOfTheHeaderIsCorrupt) {
  Place place;
  const auto path = place / "blob";
  const auto bytes = pattern(1000);
  const auto file = write_blob(path, bytes);
  ASSERT_TRUE(file);
  for (std::uint64_t at = 0; at < kHeaderBytes; ++at) {
    flip(path, at);
    ASSERT_EQ(code(File::open(path)), Code::kCorrupt) << at;
    ASSERT_EQ(code(file->map()), Code::kCorrupt) << at;
    flip(path, at);
  }
  EXPECT_EQ(mapped(*file), bytes);
}

/// As when a blob is deleted while somebody reads it from its file.
TEST(SpillFile, AFileThatIsRemovedMeanwhileIsNotCorrupt) {
  Place place;
  const auto path = place / "blob";
  const auto bytes = pattern(16 << 20);  // long enough to check that it is removed meanwhile
  bool met = false;
  for (int round = 0; round < 200 && !met; ++round) {
    ASSERT_TRUE(write_blob(path, bytes));
    const auto file = File::open(path);  // which has not checked the payload
    ASSERT_TRUE(file);
    std::thread remover([&] {
      std::this_thread::sleep_for(std::chrono::microseconds(100 * (round % 40)));
      fs::remove(path);
    });
    std::byte one{};
    const auto read = file->read(0, {&one, 1});
    remover.join();
    if (read) continue;
    ASSERT_EQ(code(read), Code::kNotFound) << message(read);
    met = message(read).find("was removed while") != std::string::npos;
  }
  EXPECT_TRUE(met) << "it was always removed before or after";
}

TEST(SpillFile, C84_EveryFlippedByteOfThePayloadIsCorrupt) {
  Place place;
  const auto path = place / "blob";
  const auto bytes = pattern(300);
  const auto file = write_blob(path, bytes);
  ASSERT_TRUE(file);
  for (std::uint64_t at = 0; at < bytes.size(); ++at) {
    flip(path, kHeaderBytes + at, 1U << (at % 8));
    const auto opened = File::open(path);
    ASSERT_TRUE(opened) << message(opened);
    ASSERT_EQ(code(opened->map()), Code::kCorrupt) << at;
    std::byte one{};
    ASSERT_EQ(code(opened->read((at + 1) % bytes.size(), {&one, 1})), Code::kCorrupt) << at;
    flip(path, kHeaderBytes + at, 1U << (at % 8));
  }
}

TEST(SpillFile, C84_OwnFileChangedLaterIsCorrupt) {
  Place place;
  const auto path = place / "blob";
  const auto bytes = pattern(300'000);
  const auto file = write_blob(path, bytes);
  ASSERT_TRUE(file);
  EXPECT_EQ(mapped(*file), bytes);
  let_the_clock_tick();
  flip(path, kHeaderBytes + 299'999);
  expect_corrupt(*file, path);
  let_the_clock_tick();
  flip(path, kHeaderBytes + 299'999);
  EXPECT_EQ(mapped(*file), bytes) << "repaired";
}

TEST(SpillFile, C84_RestoredModificationTimeDoesNotHideAChange) {
  Place place;
  const auto path = place / "blob";
  const auto file = write_blob(path, pattern(5000));
  ASSERT_TRUE(file);
  const auto time = fs::last_write_time(path);
  let_the_clock_tick();
  flip(path, kHeaderBytes + 17);
  fs::last_write_time(path, time);
  expect_corrupt(*file, path);
}

TEST(SpillFile, NewTimesAloneAreNoDamage) {
  Place place;
  const auto path = place / "blob";
  const auto bytes = pattern(5000);
  const auto file = write_blob(path, bytes);
  ASSERT_TRUE(file);
  let_the_clock_tick();
  ASSERT_EQ(::utime(path.c_str(), nullptr), 0);
  EXPECT_EQ(mapped(*file), bytes);
  EXPECT_EQ(mapped(*file), bytes);
}

TEST(SpillFile, C84_TruncatedFilesAreCorrupt) {
  Place place;
  const auto path = place / "blob";
  for (const std::uintmax_t size :
       {12'287U, 8193U, 8192U, 4097U, 4096U, 4095U, 4092U, 100U, 8U, 7U, 4U, 1U, 0U}) {
    const auto file = write_blob(path, pattern(8192), 42, true);
    ASSERT_TRUE(file);
    fs::resize_file(path, size);
    expect_corrupt(*file, path);
    EXPECT_EQ(code(File::open(path)), Code::kCorrupt) << size;
  }
}

TEST(SpillFile, C84_ExtendedFilesAreCorrupt) {
  Place place;
  const auto path = place / "blob";
  for (const std::uintmax_t more : {1U, 4096U, 1U << 31}) {
    const auto file = write_blob(path, pattern(8192), 42, true);
    ASSERT_TRUE(file);
    fs::resize_file(path, kHeaderBytes + 8192 + more);
    expect_corrupt(*file, path);
  }
}

TEST(SpillFile, C84_AnotherBlobsFileIsCorrupt) {
  Place place;
  const auto bytes = pattern(5000);
  const auto file = write_blob(place / "a", bytes, 1);
  const auto opened = File::open(place / "a");
  ASSERT_TRUE(file && opened);
  EXPECT_EQ(mapped(*opened), bytes);
  ASSERT_TRUE(write_blob(place / "b", pattern(5000, 9), 2));
  fs::rename(place / "b", place / "a");
  expect_corrupt(*file, place / "a");
  EXPECT_EQ(code(opened->map()), Code::kCorrupt);
  EXPECT_EQ(code(File::open(file->ref())), Code::kCorrupt);
  EXPECT_TRUE(File::open(place / "a")) << "a valid file, if nobody expects another";
}

TEST(SpillFile, C84_ReplacedUnderTheSameIdentityIsCorrupt) {
  Place place;
  const auto file = write_blob(place / "a", pattern(5000), 1);
  ASSERT_TRUE(file);
  ASSERT_TRUE(write_blob(place / "a", pattern(5000, 9), 1, true));
  EXPECT_EQ(code(file->map()), Code::kCorrupt);
}

TEST(SpillFile, ReplacedByAnEqualFileReadsBack) {
  Place place;
  const auto bytes = pattern(5000);
  const auto file = write_blob(place / "a", bytes, 1);
  ASSERT_TRUE(file);
  ASSERT_TRUE(write_blob(place / "a", bytes, 1, true));
  EXPECT_EQ(mapped(*file), bytes);
}

TEST(SpillFile, C84_ReferencesAreChecked) {
  Place place;
  const auto file = write_blob(place / "a", pattern(100));
  ASSERT_TRUE(file);
  const auto opens_with = [&](auto change) {
    FileRef ref = file->ref();
    change(ref);
    return code(File::open(ref));
  };
  EXPECT_EQ(opens_with([](FileRef&) {}), Code::kOk);
  EXPECT_EQ(opens_with([](FileRef& ref) { ref.length = 99; }), Code::kCorrupt);
  EXPECT_EQ(opens_with([](FileRef& ref) { ref.offset = 0; }), Code::kCorrupt);
  EXPECT_EQ(opens_with([](FileRef& ref) { ref.id.cluster++; }), Code::kCorrupt);
  EXPECT_EQ(opens_with([](FileRef& ref) { ref.id.node++; }), Code::kCorrupt);
  EXPECT_EQ(opens_with([](FileRef& ref) { ref.id.incarnation++; }), Code::kCorrupt);
  EXPECT_EQ(opens_with([](FileRef& ref) { ref.id.object++; }), Code::kCorrupt);
  EXPECT_EQ(opens_with([](FileRef& ref) { ref.path += "x"; }), Code::kNotFound);
}

TEST(SpillFile, C84_ForeignThingsAreCorrupt) {
  Place place;
  std::ofstream(place / "empty");
  std::ofstream(place / "text") << std::string(10'000, 'x');
  std::ofstream(place / "short") << "MPB1";
  fs::create_directory(place / "directory");
  ASSERT_EQ(::mkfifo((place / "fifo").c_str(), 0600), 0);
  for (const auto* name : {"empty", "text", "short", "directory", "fifo"}) {
    const auto opened = File::open(place / name);
    EXPECT_EQ(code(opened), Code::kCorrupt) << name << ": " << message(opened);
    EXPECT_NE(message(opened).find((place / name).native()), std::string::npos);
  }
  EXPECT_EQ(code(File::open("/dev/null")), Code::kCorrupt);
}

TEST(SpillFile, MissingFilesAreNotFound) {
  Place place;
  std::ofstream(place / "text") << "x";
  fs::create_symlink(place / "loop", place / "loop");
  fs::create_symlink(place / "nothing", place / "dangling");
  const auto long_name = place / std::string(300, 'n');
  for (const auto& path : {place / "none", place / "no" / "where", place / "text" / "below",
                           place / "loop", place / "dangling", long_name}) {
    EXPECT_EQ(code(File::open(path)), Code::kNotFound) << path << message(File::open(path));
  }
  EXPECT_EQ(code(File::open(fs::path())), Code::kInvalidArgument);
  const auto file = write_blob(place / "a", pattern(10));
  ASSERT_TRUE(file);
  fs::remove(place / "a");
  EXPECT_EQ(code(file->map()), Code::kNotFound);
  std::byte one{};
  EXPECT_EQ(code(file->read(0, {&one, 1})), Code::kNotFound);
}

TEST(SpillFile, SymbolicLinksToBlobFilesWork) {
  Place place;
  const auto bytes = pattern(10);
  ASSERT_TRUE(write_blob(place / "a", bytes));
  fs::create_symlink(place / "a", place / "link");
  const auto opened = File::open(place / "link");
  ASSERT_TRUE(opened) << message(opened);
  EXPECT_EQ(mapped(*opened), bytes);
}

TEST(SpillFile, NoPermissionSaysSo) {
  Place place;
  fs::permissions(place.path(), fs::perms(0755));
  ASSERT_TRUE(write_blob(place / "a", pattern(10)));
  EXPECT_EQ(fs::status(place / "a").permissions(), fs::perms(0600));
  EXPECT_TRUE(in_child([&] {
    if (::geteuid() != 0) fs::permissions(place / "a", fs::perms::none);
    become_nobody();
    const auto opened = File::open(place / "a");
    EXPECT_EQ(code(opened), Code::kPermissionDenied);
    EXPECT_NE(message(opened).find("Permission denied"), std::string::npos) << message(opened);
  }));
}

TEST(SpillFile, LimitsOfTheProcessAreNamed) {
  Place place;
  const auto file = write_blob(place / "a", pattern(32 << 20));
  ASSERT_TRUE(file);
  const auto limit = [](__rlimit_resource resource, rlim_t bytes) {
    struct rlimit limits {};
    ASSERT_EQ(::getrlimit(resource, &limits), 0);
    limits.rlim_cur = bytes;
    ASSERT_EQ(::setrlimit(resource, &limits), 0);
  };
  EXPECT_TRUE(in_child([&] {
    limit(RLIMIT_NOFILE, 0);
    const auto opened = File::open(place / "a");
    EXPECT_EQ(code(opened), Code::kLimit);
    EXPECT_NE(message(opened).find("(ulimit -n allows 0)"), std::string::npos) << message(opened);
  }));
  if (mempool::test::kSanitized) return;  // addresses without end
  EXPECT_TRUE(in_child([&] {
    std::uint64_t pages = 0;
    std::ifstream("/proc/self/statm") >> pages;
    limit(RLIMIT_AS, pages * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE)) + (8 << 20));
    const auto mapping = file->map();
    EXPECT_EQ(code(mapping), Code::kLimit);
    EXPECT_NE(message(mapping).find("(ulimit -v allows "), std::string::npos) << message(mapping);
  }));
}

TEST(SpillFile, ReadsRangesAndRefusesOthers) {
  Place place;
  const auto bytes = pattern(10'000);
  const auto file = write_blob(place / "a", bytes);
  ASSERT_TRUE(file);
  std::vector<std::byte> out(1000);
  for (const std::uint64_t offset : {0U, 1U, 4095U, 9000U}) {
    ASSERT_TRUE(file->read(offset, out));
    EXPECT_TRUE(std::ranges::equal(out, std::span(bytes).subspan(offset, 1000)));
  }
  EXPECT_TRUE(file->read(10'000, {}));
  EXPECT_EQ(code(file->read(9001, out)), Code::kInvalidArgument);
  EXPECT_EQ(code(file->read(10'001, {})), Code::kInvalidArgument);
  EXPECT_EQ(code(file->read(~0ULL, out)), Code::kInvalidArgument);
}

TEST(SpillFile, MappingsOutliveTheFilesName) {
  Place place;
  const auto bytes = pattern(10'000);
  auto file = write_blob(place / "a", bytes);
  ASSERT_TRUE(file);
  auto mapping = file->map();
  ASSERT_TRUE(mapping);
  fs::remove(place / "a");
  file = fail(Code::kClosed, "");
  Mapping moved = std::move(*mapping);
  EXPECT_TRUE(mapping->payload().empty());
  EXPECT_EQ(copy_of(moved.payload()), bytes);
}

// How many of the file's pages the page cache holds.
std::size_t cached_pages(const fs::path& path) {
  const auto size = fs::file_size(path);
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  void* const base = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, fd, 0);
  ::close(fd);
  if (base == MAP_FAILED) return 0;
  std::vector<unsigned char> pages(size / 4096 + 1);
  EXPECT_EQ(::mincore(base, size, pages.data()), 0);
  ::munmap(base, size);
  return static_cast<std::size_t>(
      std::ranges::count_if(pages, [](unsigned char page) { return (page & 1) != 0; }));
}

void drop_from_cache(const fs::path& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  ASSERT_EQ(::fsync(fd), 0);
  ASSERT_EQ(::posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED), 0);
  ::close(fd);
}

TEST(SpillFile, OwnUnchangedFilesAreMappedWithoutReadingThem) {
  constexpr std::size_t kSize = 32UL << 20;
  constexpr std::size_t kFew = 1024;  // what the kernel reads ahead of the header
  Place place;
  const auto file = write_blob(place / "a", pattern(kSize));
  ASSERT_TRUE(file);
  drop_from_cache(place / "a");
  if (cached_pages(place / "a") > kFew) GTEST_SKIP() << "SKIPPED: this file system is its cache";
  {
    const auto mapping = file->map();
    ASSERT_TRUE(mapping);
    EXPECT_LT(cached_pages(place / "a"), kFew);
    std::byte one{};
    ASSERT_TRUE(file->read(kSize - 1, {&one, 1}));
    EXPECT_LT(cached_pages(place / "a"), kFew);
  }
  // C54 rests on this: opening reads nothing, the first map does.
  drop_from_cache(place / "a");
  const auto foreign = File::open(place / "a");
  ASSERT_TRUE(foreign);
  EXPECT_LT(cached_pages(place / "a"), kFew);
  ASSERT_TRUE(foreign->map());
  EXPECT_GT(cached_pages(place / "a"), kSize / 4096 / 2);
}

TEST(SpillFile, WhatOneFileFoundTheOthersKnowButNotWhatItWasTold) {
  Place place;
  const auto written = write_blob(place / "a", pattern(50'000));
  ASSERT_TRUE(written);
  const auto ref = written->ref();
  const auto first = File::open(ref);
  ASSERT_TRUE(first);
  EXPECT_TRUE(first->needs_check());
  const auto told = File::open(ref, written->verified());
  ASSERT_TRUE(told && told->map());
  EXPECT_FALSE(told->needs_check());
  EXPECT_EQ(told->verified(), Stamp()) << "it has seen nothing of the payload";
  EXPECT_TRUE(first->needs_check());
  EXPECT_TRUE(File::open(ref)->needs_check());
  ASSERT_TRUE(first->map());
  EXPECT_EQ(told->verified(), written->verified());
  EXPECT_FALSE(File::open(ref)->needs_check());
  // By another name it is the same file; with other bytes, or a copy, it is not.
  fs::create_hard_link(place / "a", place / "b");
  ASSERT_TRUE(File::open(place / "b")->map()) << "a link changes the stamp";
  EXPECT_FALSE(File::open(ref)->needs_check());
  fs::copy_file(place / "a", place / "c");
  EXPECT_TRUE(File::open(place / "c")->needs_check());
  let_the_clock_tick();
  flip(place / "a", 4096 + 100);
  EXPECT_TRUE(first->needs_check());
  EXPECT_EQ(code(File::open(ref)->map()), Code::kCorrupt);
  EXPECT_EQ(code(first->map()), Code::kCorrupt);
}

TEST(SpillFile, ManyThreadsReadOneFile) {
  Place place;
  const auto bytes = pattern(2'000'000);
  ASSERT_TRUE(write_blob(place / "a", bytes));
  const auto file = File::open(place / "a");
  ASSERT_TRUE(file);
  std::atomic<int> good = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&, i, copy = *file] {
      for (int round = 0; round < 10; ++round) {
        std::vector<std::byte> out(1000);
        const auto at = static_cast<std::uint64_t>(i * 100'000 + round);
        const bool same =
            copy.read(at, out) && std::ranges::equal(out, std::span(bytes).subspan(at, out.size()));
        const auto mapping = copy.map();
        if (same && mapping && mapping->payload().back() == bytes.back()) ++good;
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(good, 40);
}

// A writer replaces the file all the time: a reader gets its own blob's bytes or an error.
TEST(SpillFile, C84_ReplacedWhileReadNeverShowsOtherBytes) {
  Place place;
  const auto mine = pattern(50'000, 1);
  const auto other = pattern(50'000, 2);
  const auto file = write_blob(place / "a", mine, 1);
  ASSERT_TRUE(file);
  std::atomic<bool> done = false;
  std::thread writer([&] {
    while (!done) {
      EXPECT_TRUE(write_blob(place / "a", other, 2, true));
      EXPECT_TRUE(write_blob(place / "a", mine, 1, true));
    }
  });
  int good = 0;
  for (int round = 0; round < 2000; ++round) {
    std::vector<std::byte> out(mine.size());
    const auto read = file->read(0, out);
    if (read) {
      ASSERT_EQ(out, mine);
    }
    if (!read) {
      ASSERT_EQ(code(read), Code::kCorrupt) << message(read);
    }
    const auto mapping = file->map();
    if (mapping) {
      ASSERT_EQ(copy_of(mapping->payload()), mine);
    }
    good += read && mapping ? 1 : 0;
  }
  done = true;
  writer.join();
  EXPECT_GT(good, 0);
}

}  // namespace
}  // namespace mempool::spill
