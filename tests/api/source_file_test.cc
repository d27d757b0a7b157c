// What `mempool set` and `load` read: files of all kinds, and files that change meanwhile.
#include "api/programs/source_file.h"

#include <csignal>

#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/mman.h>

#include "support/child.h"
#include "support/files.h"
#include "support/results.h"

namespace mempool::programs {
namespace {

namespace fs = std::filesystem;
using test::code;
using test::kMiB;
using test::message;
using test::pattern;
using test::same;
using ::testing::HasSubstr;

class SourceFileTest : public ::testing::Test {
 protected:
  fs::path put(std::size_t size) const {
    test::write_file(directory_ / "in", pattern(size));
    return directory_ / "in";
  }
  const test::TemporaryDirectory directory_;
};

TEST_F(SourceFileTest, FilesAreShownWhole) {
  for (const std::size_t size : {std::size_t{0}, std::size_t{1}, 3 * kMiB + 5}) {
    const auto source = SourceFile::open(put(size));
    ASSERT_TRUE(source) << message(source);
    EXPECT_TRUE(same(source->bytes(), pattern(size)));
    EXPECT_TRUE(source->whole());
  }
}

// The kernel says 0 bytes of the one, and 4096 of the other.
TEST_F(SourceFileTest, FilesWhoseSizeSaysNothingAreReadToTheirEnd) {
  for (const char* path : {"/proc/version", "/sys/kernel/mm/transparent_hugepage/enabled"}) {
    if (!fs::exists(path)) GTEST_SKIP() << "SKIPPED: there is no " << path << " here";
    const auto source = SourceFile::open(path);
    ASSERT_TRUE(source) << message(source);
    EXPECT_TRUE(same(source->bytes(), test::read_file(path)));
    EXPECT_GT(source->bytes().size(), 10U);
    EXPECT_LT(source->bytes().size(), 4096U);
    EXPECT_TRUE(source->whole());
  }
}

TEST_F(SourceFileTest, AFileThatGrowsIsShownAsItWas) {
  const auto path = put(kMiB);
  const auto source = SourceFile::open(path);
  ASSERT_TRUE(source);
  fs::resize_file(path, 2 * kMiB);
  EXPECT_TRUE(same(source->bytes(), pattern(kMiB)));
  EXPECT_TRUE(source->whole());
}

TEST_F(SourceFileTest, AFileThatShrinksIsAnErrorAndNotTheEnd) {
  for (const std::size_t left : {std::size_t{0}, std::size_t{5000}, kMiB - 1}) {
    const auto path = put(kMiB);
    const auto source = SourceFile::open(path);
    ASSERT_TRUE(source);
    fs::resize_file(path, left);
    auto expected = pattern(kMiB);
    std::fill(expected.begin() + static_cast<std::ptrdiff_t>(left), expected.end(), std::byte{0});
    EXPECT_TRUE(same(source->bytes(), expected));
    const auto whole = source->whole();
    EXPECT_EQ(code(whole), Code::kIo);
    EXPECT_THAT(message(whole), HasSubstr("was cut off to " + std::to_string(left) + " bytes"));
    fs::resize_file(path, kMiB);
    EXPECT_EQ(code(source->whole()), left == kMiB - 1 ? Code::kOk : Code::kIo)
        << "zeros were shown, whatever there is now";
  }
}

// What is no page of the file's is as deadly as ever.
TEST_F(SourceFileTest, OtherFaultsEndTheProgram) {
  const auto source = SourceFile::open(put(kMiB));
  ASSERT_TRUE(source);
  test::write_file(directory_ / "other", pattern(kMiB));
  const int fd = ::open((directory_ / "other").c_str(), O_RDWR | O_CLOEXEC);
  ASSERT_GE(fd, 0);
  const pid_t child = ::fork();
  if (child == 0) {
    void* shared = ::mmap(nullptr, kMiB, PROT_READ, MAP_SHARED, fd, 0);
    if (shared == MAP_FAILED || ::ftruncate(fd, 0) != 0) ::_exit(2);
    ::_exit(static_cast<volatile const char*>(shared)[5000]);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ::close(fd);
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS) << status;
}

TEST_F(SourceFileTest, WhatIsNoFileIsRefused) {
  for (const auto& path : {fs::path("/dev/zero"), directory_.path()})
    EXPECT_EQ(code(SourceFile::open(path)), Code::kInvalidArgument);
  EXPECT_EQ(code(SourceFile::open(directory_ / "none")), Code::kNotFound);
}

}  // namespace
}  // namespace mempool::programs
