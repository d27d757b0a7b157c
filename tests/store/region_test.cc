// What others can do to a region that they were given the descriptor of: read it.
#include "store/region.h"

#include <cerrno>
#include <utility>

#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/child.h"

namespace mempool::store {
namespace {

constexpr std::size_t kBytes = 1 << 20;

TEST(Region, IsSealedAgainstEverybodyElse) {
  auto region = Region::create(kBytes);
  ASSERT_TRUE(region) << region.error().to_string();
  const int fd = region->descriptor();
  EXPECT_EQ(::mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), MAP_FAILED);
  EXPECT_EQ(errno, EPERM);
  EXPECT_NE(::ftruncate(fd, 4096), 0);
  EXPECT_NE(::ftruncate(fd, 2 * kBytes), 0);
  EXPECT_NE(::pwrite(fd, "x", 1, 0), 1);
  EXPECT_NE(::fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), 0);

  region->bytes()[4096] = std::byte{42};  // the owner still writes
  void* seen = ::mmap(nullptr, kBytes, PROT_READ, MAP_SHARED, fd, 0);
  ASSERT_NE(seen, MAP_FAILED);
  EXPECT_EQ(static_cast<const std::byte*>(seen)[4096], std::byte{42});
  EXPECT_NE(::mprotect(seen, kBytes, PROT_READ | PROT_WRITE), 0);
  ::munmap(seen, kBytes);
}

TEST(Region, IsNotMappedInAForkedChild) {
  auto region = Region::create(kBytes);
  ASSERT_TRUE(region);
  unsigned char resident = 0;
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    const bool mapped = ::mincore(region->bytes().data(), 4096, &resident) == 0;
    ::_exit(mapped ? 1 : 0);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

TEST(Region, IsRoundedToPagesAndMoves) {
  auto region = Region::create(5000);
  ASSERT_TRUE(region);
  EXPECT_EQ(region->bytes().size(), 8192U);
  EXPECT_NE(::fcntl(region->descriptor(), F_GETFD) & FD_CLOEXEC, 0);
  const int fd = region->descriptor();
  Region moved = std::move(*region);
  EXPECT_EQ(moved.descriptor(), fd);
  auto other = Region::create(kBytes);
  ASSERT_TRUE(other);
  moved = std::move(*other);
  EXPECT_EQ(moved.bytes().size(), kBytes);
  struct stat ignored {};
  EXPECT_NE(::fstat(fd, &ignored), 0);
}

TEST(Region, ZeroAndTooManyBytesAreRefused) {
  EXPECT_EQ(Region::create(0).error().code, Code::kInvalidArgument);
  EXPECT_FALSE(Region::create(SIZE_MAX));
  const auto huge = Region::create(1ULL << 60);
  ASSERT_FALSE(huge);
  EXPECT_NE(huge.error().message.find("max_memsize"), std::string::npos);
}

// The remedy is that of the limit that was met, and none of them ends the process.
TEST(Region, LimitsOfTheProcessAreNamed) {
  constexpr std::size_t kLarge = 1ULL << 34;
  const auto refused_with = [&](__rlimit_resource resource, rlim_t limit) -> std::string {
    struct rlimit before {};
    EXPECT_EQ(::getrlimit(resource, &before), 0);
    struct rlimit lowered {
      limit, before.rlim_max
    };
    EXPECT_EQ(::setrlimit(resource, &lowered), 0);
    const auto region = Region::create(kLarge);
    EXPECT_EQ(::setrlimit(resource, &before), 0);
    return region ? "it was made" : region.error().to_string();
  };
  EXPECT_TRUE(test::in_child([&] {
    using ::testing::HasSubstr;
    using ::testing::Not;
    const auto file_size = refused_with(RLIMIT_FSIZE, kBytes);
    EXPECT_THAT(file_size, ::testing::AllOf(HasSubstr("Limit: "), HasSubstr("ulimit -f"),
                                            HasSubstr("is 1048576 bytes")));
    EXPECT_THAT(refused_with(RLIMIT_NOFILE, 0), HasSubstr("ulimit -n"));
    if (!test::kSanitized) {
      EXPECT_THAT(refused_with(RLIMIT_AS, kLarge), HasSubstr("ulimit -v"));
    }
    const auto huge = Region::create(1ULL << 50);
    ASSERT_FALSE(huge);
    EXPECT_THAT(huge.error().message, Not(HasSubstr("ulimit")));
  }));
}

}  // namespace
}  // namespace mempool::store
