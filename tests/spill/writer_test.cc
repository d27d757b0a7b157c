// Writing: a file appears whole or not at all, and every failure says why.
#include <algorithm>
#include <atomic>
#include <fstream>

#include <sched.h>
#include <sys/mount.h>
#include <sys/resource.h>

#include "support.h"

namespace mempool::spill {
namespace {

using namespace test;

constexpr std::size_t kLargeEnoughToAllocate = 2UL << 20;

TEST(SpillWriter, AppearsOnlyWhenFinished) {
  Place place;
  const auto path = place / "a";
  const auto bytes = pattern(3000);
  auto writer = Writer::create(path, meta_of(3000), false);
  ASSERT_TRUE(writer);
  ASSERT_TRUE(writer->append(std::span(bytes).first(1000)));
  EXPECT_FALSE(fs::exists(path));
  EXPECT_EQ(code(writer->finish(false)), Code::kInvalidArgument) << "2000 bytes are missing";
  ASSERT_TRUE(writer->append(std::span(bytes).subspan(1000)));
  EXPECT_EQ(code(writer->append(std::span(bytes).first(1))), Code::kInvalidArgument);
  EXPECT_TRUE(writer->append({}));
  EXPECT_FALSE(fs::exists(path));
  const auto file = writer->finish(true);
  ASSERT_TRUE(file) << message(file);
  EXPECT_EQ(code(writer->finish(true)), Code::kInvalidArgument);
  EXPECT_EQ(code(writer->append(bytes)), Code::kInvalidArgument);
  EXPECT_EQ(place.entries(), 1U);
  const auto mapping = File::open(path)->map();
  ASSERT_TRUE(mapping);
  EXPECT_EQ(copy_of(mapping->payload()), bytes);
}

TEST(SpillWriter, DroppedLeavesNothing) {
  Place place;
  {
    auto writer = Writer::create(place / "a", meta_of(kLargeEnoughToAllocate), false);
    ASSERT_TRUE(writer);
    ASSERT_TRUE(writer->append(pattern(10)));
    EXPECT_EQ(place.entries(), 1U);
    auto moved = std::move(*writer);
    *writer = std::move(moved);
  }
  EXPECT_EQ(place.entries(), 0U);
}

TEST(SpillWriter, RefusesToOverwriteUnlessTold) {
  Place place;
  const auto path = place / "a";
  ASSERT_TRUE(write_blob(path, pattern(10, 1)));
  const auto refused = write_blob(path, pattern(10, 2));
  EXPECT_EQ(code(refused), Code::kExists) << message(refused);
  EXPECT_EQ(copy_of(File::open(path)->map()->payload()), pattern(10, 1));
  {
    auto dropped = Writer::create(path, meta_of(10), true);
    ASSERT_TRUE(dropped);
    ASSERT_TRUE(dropped->append(pattern(10, 3)));
  }
  EXPECT_EQ(copy_of(File::open(path)->map()->payload()), pattern(10, 1)) << "the old file stays";
  ASSERT_TRUE(write_blob(path, pattern(10, 2), 42, true));
  EXPECT_EQ(copy_of(File::open(path)->map()->payload()), pattern(10, 2));
  EXPECT_EQ(place.entries(), 1U);
}

TEST(SpillWriter, AFileThatAppearsMeanwhileIsNotOverwritten) {
  Place place;
  const auto path = place / "a";
  auto writer = Writer::create(path, meta_of(0), false);
  ASSERT_TRUE(writer);
  std::ofstream(path) << "precious";
  EXPECT_EQ(code(writer->finish(false)), Code::kExists);
  EXPECT_EQ(code(writer->finish(false)), Code::kExists) << "failed once and for all";
  EXPECT_EQ(fs::file_size(path), 8U);
  writer = fail(Code::kClosed, "");
  EXPECT_EQ(place.entries(), 1U);
}

TEST(SpillWriter, OneOfManyWins) {
  Place place;
  const auto path = place / "a";
  for (int round = 0; round < 50; ++round) {
    std::atomic<int> won = 0;
    std::atomic<int> lost = 0;
    std::vector<std::thread> threads;
    for (std::uint32_t i = 0; i < 4; ++i) {
      threads.emplace_back([&, i] {
        const auto file = write_blob(path, pattern(5000, i));
        if (file) ++won;
        if (code(file) == Code::kExists) ++lost;
      });
    }
    for (auto& thread : threads) thread.join();
    ASSERT_EQ(won, 1);
    ASSERT_EQ(lost, 3);
    ASSERT_TRUE(File::open(path)->map());
    ASSERT_EQ(place.entries(), 1U);
    fs::remove(path);
  }
}

TEST(SpillWriter, BadPathsAreNamed) {
  Place place;
  std::ofstream(place / "text") << "x";
  const auto result = [&](const fs::path& path, bool overwrite = false) {
    const auto writer = Writer::create(path, meta_of(1), overwrite);
    if (!writer) {
      EXPECT_NE(message(writer).find(path.native()), std::string::npos);
    }
    return code(writer);
  };
  EXPECT_EQ(result(place / "none" / "a"), Code::kNotFound);
  EXPECT_EQ(result(place / "text" / "a"), Code::kNotFound);
  EXPECT_EQ(result(place.path()), Code::kInvalidArgument);
  EXPECT_EQ(result(place.path(), true), Code::kInvalidArgument);
  EXPECT_EQ(result(""), Code::kInvalidArgument);
  EXPECT_EQ(result(place / ""), Code::kInvalidArgument);
  EXPECT_EQ(result(place / ".."), Code::kInvalidArgument);
  EXPECT_EQ(result(place / std::string(300, 'x'), true), Code::kNotFound);
  EXPECT_TRUE(Writer::create(place / std::string(255, 'x'), meta_of(1), false));
  EXPECT_EQ(place.entries(), 1U);
}

TEST(SpillWriter, RelativePathsBecomeAbsolute) {
  Place place;
  EXPECT_TRUE(in_child([&] {
    fs::current_path(place.path());
    const auto file = write_blob("a", pattern(10));
    ASSERT_TRUE(file);
    EXPECT_EQ(file->ref().path, (place / "a").native());
    fs::current_path("/");
    EXPECT_TRUE(file->map());
  }));
}

TEST(SpillWriter, ImpossibleBlobsAreRefused) {
  Place place;
  auto meta = meta_of(1);
  meta.type_name = std::string(1025, 'x');
  EXPECT_EQ(code(Writer::create(place / "a", meta, false)), Code::kInvalidArgument);
  EXPECT_EQ(code(Writer::create(place / "a", meta_of(~0ULL), false)), Code::kNoSpace);
  EXPECT_EQ(code(Writer::create(place / "a", meta_of(~0ULL >> 1), false)), Code::kNoSpace);
  const auto huge = Writer::create(place / "a", meta_of(1ULL << 55), false);
  if (!huge) {
    EXPECT_EQ(code(huge), Code::kNoSpace) << message(huge);
  }
  EXPECT_EQ(place.entries(), huge ? 1U : 0U);
}

TEST(SpillWriter, NoPermissionSaysSo) {
  Place place;
  fs::permissions(place.path(), fs::perms(0555));
  EXPECT_TRUE(in_child([&] {
    become_nobody();
    const auto writer = Writer::create(place / "a", meta_of(1), false);
    EXPECT_EQ(code(writer), Code::kPermissionDenied);
    EXPECT_NE(message(writer).find((place / "a").native()), std::string::npos);
    EXPECT_NE(message(writer).find("Permission denied"), std::string::npos) << message(writer);
  }));
  fs::permissions(place.path(), fs::perms(0755));
}

TEST(SpillWriter, TheFileSizeLimitIsAnErrorNotASignal) {
  Place place;
  EXPECT_TRUE(in_child([&] {
    const struct rlimit limit { .rlim_cur = 100'000, .rlim_max = 100'000 };
    ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &limit), 0);
    const auto refused = write_blob(place / "a", pattern(100'000));
    EXPECT_EQ(code(refused), Code::kNoSpace);
    EXPECT_NE(message(refused).find("ulimit -f"), std::string::npos) << message(refused);
    EXPECT_TRUE(write_blob(place / "b", pattern(100'000 - kHeaderBytes)));
  }));
  EXPECT_EQ(place.entries(), 1U);
}

bool write_text(const char* path, const std::string& text) {
  std::ofstream file(path);
  return static_cast<bool>(file << text << std::flush);
}

// A mount namespace of this process's own: with root's rights, or in a user namespace where this
// user keeps its number (users without one cannot make files).
bool enter_mount_namespace() {
  if (::unshare(CLONE_NEWNS) == 0) return true;
  const auto user = std::to_string(::geteuid());
  const auto group = std::to_string(::getegid());
  return ::unshare(CLONE_NEWUSER | CLONE_NEWNS) == 0 &&
         write_text("/proc/self/setgroups", "deny") &&
         write_text("/proc/self/uid_map", user + ' ' + user + " 1\n") &&
         write_text("/proc/self/gid_map", group + ' ' + group + " 1\n");
}

// Runs `body` with a file system of `bytes` mounted on `target`, in a child of its own mount
// namespace, so that nothing stays mounted. False: this machine does not permit that.
template <class Body>
bool on_small_disk(const fs::path& target, const char* options, Body&& body) {
  constexpr int kNotPermitted = 77;
  const pid_t child = ::fork();
  if (child == 0) {
    const bool mounted = enter_mount_namespace() &&
                         ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
                         ::mount("none", target.c_str(), "tmpfs", 0, options) == 0;
    if (!mounted) ::_exit(kNotPermitted);
    body();
    ::_exit(::testing::Test::HasFailure() ? 1 : 0);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  if (WIFEXITED(status) && WEXITSTATUS(status) == kNotPermitted) return false;
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  return true;
}

std::size_t entries(const fs::path& path) {
  return static_cast<std::size_t>(
      std::distance(fs::directory_iterator(path), fs::directory_iterator()));
}

TEST(SpillWriter, C74_FullDiskIsNoSpaceAndRecovers) {
  Place place;
  const bool ran = on_small_disk(place.path(), "size=4m", [&] {
    const auto half = pattern(2'500'000);
    ASSERT_TRUE(write_blob(place / "a", half));
    // Large: found before anything is written.
    const auto early = Writer::create(place / "b", meta_of(half.size()), false);
    EXPECT_EQ(code(early), Code::kNoSpace) << message(early);
    EXPECT_NE(message(early).find("No space left"), std::string::npos) << message(early);
    EXPECT_EQ(entries(place.path()), 1U);
    // Small: found in the middle of the write.
    const auto small = pattern(50'000);
    std::uint64_t count = 0;
    for (; count < 1000; ++count) {
      auto writer = Writer::create(place / ("s" + std::to_string(count)), meta_of(50'000), false);
      ASSERT_TRUE(writer) << message(writer);
      if (const auto appended = writer->append(small); !appended) {
        EXPECT_EQ(code(appended), Code::kNoSpace) << message(appended);
        EXPECT_EQ(code(writer->append({})), Code::kNoSpace) << "failed once and for all";
        EXPECT_EQ(code(writer->finish(false)), Code::kNoSpace);
        break;
      }
      if (!writer->finish(false)) break;  // no room for the header
    }
    EXPECT_GT(count, 10U);
    EXPECT_LT(count, 100U);
    EXPECT_EQ(entries(place.path()), 1 + count) << "no temporary stays";
    EXPECT_EQ(copy_of(File::open(place / "a")->map()->payload()), half);
    fs::remove(place / "a");
    const auto again = write_blob(place / "d", small);
    EXPECT_TRUE(again) << message(again);
  });
  if (!ran) GTEST_SKIP() << "SKIPPED: mounting a file system is not permitted here";
}

TEST(SpillWriter, ReadOnlyFileSystemSaysSo) {
  Place place;
  const bool ran = on_small_disk(place.path(), "size=1m,ro", [&] {
    const auto writer = Writer::create(place / "a", meta_of(1), false);
    EXPECT_EQ(code(writer), Code::kPermissionDenied);
    EXPECT_NE(message(writer).find("Read-only file system"), std::string::npos);
    const auto directory = Directory::open({.root = place / ".mempool"});
    ASSERT_TRUE(directory) << message(directory);
    EXPECT_EQ(code((*directory)->usable()), Code::kPermissionDenied);
    const auto spilled = (*directory)->create(1, 1, "", false);
    EXPECT_EQ(code(spilled), Code::kPermissionDenied) << message(spilled);
  });
  if (!ran) GTEST_SKIP() << "SKIPPED: mounting a file system is not permitted here";
}

TEST(SpillWriter, C74_OutOfInodesSaysSo) {
  Place place;
  const bool ran = on_small_disk(place.path(), "size=4m,nr_inodes=3", [&] {
    const auto directory = Directory::open({.root = place / ".mempool"});
    ASSERT_TRUE(directory);
    const auto says_so = [](const auto& failed) {
      EXPECT_EQ(code(failed), Code::kNoSpace) << message(failed);
      EXPECT_NE(message(failed).find("no inodes left"), std::string::npos) << message(failed);
    };
    std::ofstream(place / "filler") << "x";
    says_so((*directory)->create(1, 1, "", false));
    fs::remove(place / ".mempool");
    std::ofstream(place / "another") << "x";
    says_so(Writer::create(place / "a", meta_of(1), false));
    says_so((*directory)->create(1, 1, "", false));
    // A full disk is a full disk, inodes or not.
    const auto bytes = pattern(8 << 20);
    fs::remove(place / "another");
    const auto large = Writer::create(place / "a", meta_of(bytes.size()), false);
    EXPECT_EQ(code(large), Code::kNoSpace);
    EXPECT_EQ(message(large).find("inodes"), std::string::npos) << message(large);
  });
  if (!ran) GTEST_SKIP() << "SKIPPED: mounting a file system is not permitted here";
}

TEST(SpillWriter, C74_DirectoryOnAFullDisk) {
  Place place;
  const bool ran = on_small_disk(place.path(), "size=4m", [&] {
    auto directory = Directory::open({.root = place / ".mempool"});
    ASSERT_TRUE(directory) << message(directory);
    const auto room = (*directory)->room_bytes();
    EXPECT_LE(room, 4UL << 20);
    EXPECT_GT(room, 3UL << 20);
    const auto bytes = pattern(2'500'000);
    auto first = (*directory)->create(1, bytes.size(), "", false);
    ASSERT_TRUE(first && first->append(bytes));
    const auto file = first->finish(false);
    ASSERT_TRUE(file);
    const auto used = (*directory)->used_bytes();
    EXPECT_EQ(used, file->file_bytes());
    EXPECT_EQ(code((*directory)->create(2, bytes.size(), "", false)), Code::kNoSpace);
    EXPECT_EQ((*directory)->used_bytes(), used);
    EXPECT_TRUE(file->map());
    EXPECT_TRUE((*directory)->remove(*file));
    EXPECT_EQ((*directory)->used_bytes(), 0U);
    EXPECT_TRUE((*directory)->create(2, bytes.size(), "", false));
  });
  if (!ran) GTEST_SKIP() << "SKIPPED: mounting a file system is not permitted here";
}

}  // namespace
}  // namespace mempool::spill
