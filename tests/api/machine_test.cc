// Limits of control groups, version 1 and 2, as the kernel writes them into files.
#include "api/programs/machine.h"

#include <gmock/gmock.h>
#include <sys/resource.h>

#include "support/bytes.h"
#include "support/child.h"
#include "support/files.h"

namespace mempool::programs {
namespace {

namespace fs = std::filesystem;
using test::kMiB;
using ::testing::HasSubstr;
using ::testing::Optional;

class GroupLimitsTest : public ::testing::Test {
 protected:
  void put(const fs::path& file, const std::string& text) const {
    fs::create_directories((directory_ / file).parent_path());
    test::write_file(directory_ / file, std::as_bytes(std::span(text)));
  }
  GroupLimits limits() const { return group_limits(directory_.path()); }

  const test::TemporaryDirectory directory_;
};

TEST_F(GroupLimitsTest, WithoutGroupsThereIsNone) {
  const auto none = limits();
  EXPECT_FALSE(none.memory_bytes || none.processes || none.processors);
}

TEST_F(GroupLimitsTest, Version2TakesTheLeastOfAllLevels) {
  put("proc/self/cgroup", "0::/user.slice/app\n");
  put("sys/fs/cgroup/user.slice/app/memory.max", "max\n");
  put("sys/fs/cgroup/user.slice/app/pids.max", "100\n");
  put("sys/fs/cgroup/user.slice/app/cpu.max", "150000 100000\n");
  put("sys/fs/cgroup/user.slice/memory.max", "268435456\n");
  put("sys/fs/cgroup/user.slice/pids.max", "200\n");
  put("sys/fs/cgroup/user.slice/cpu.max", "max 100000\n");
  const auto found = limits();
  EXPECT_THAT(found.memory_bytes, Optional(256 * kMiB));
  EXPECT_THAT(found.processes, Optional(100U));
  EXPECT_THAT(found.processors, Optional(1.5));
}

TEST_F(GroupLimitsTest, Version1HasATreeAController) {
  put("proc/self/cgroup", "8:pids:/\n4:memory:/docker/1f\n1:cpu,cpuacct:/docker/1f\n0::/\n");
  // Inside the container its own group is the root.
  put("sys/fs/cgroup/memory/memory.limit_in_bytes", "536870912\n");
  put("sys/fs/cgroup/pids/pids.max", "max\n");
  put("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "50000\n");
  put("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n");
  const auto found = limits();
  EXPECT_THAT(found.memory_bytes, Optional(512 * kMiB));
  EXPECT_FALSE(found.processes);
  EXPECT_THAT(found.processors, Optional(0.5));
}

TEST_F(GroupLimitsTest, NoLimitIsNoNumber) {
  put("proc/self/cgroup", "4:memory:/\n1:cpu:/\n");
  put("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
  put("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n");
  put("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n");
  const auto found = limits();
  EXPECT_FALSE(found.memory_bytes || found.processors);
}

TEST(ResourceLimits, AreWhatTheProcessHas) {
  EXPECT_TRUE(test::in_child([] {
    const rlimit small{64 * 1024, RLIM_INFINITY};
    rlimit hard{};
    getrlimit(RLIMIT_MEMLOCK, &hard);
    const rlimit lock{4096, hard.rlim_max};
    ASSERT_EQ(setrlimit(RLIMIT_MEMLOCK, &lock), 0);
    EXPECT_THAT(resource_limit(RLIMIT_MEMLOCK), Optional(4096U));
    if (setrlimit(RLIMIT_FSIZE, &small) != 0) return;
    EXPECT_THAT(resource_limit(RLIMIT_FSIZE), Optional(64U * 1024));
    // The shell may lift what only the soft limit forbids; asking leaves it as it was.
    EXPECT_EQ(lift_command(RLIMIT_FSIZE), "ulimit -f unlimited");
    EXPECT_THAT(resource_limit(RLIMIT_FSIZE), Optional(64U * 1024));
  }));
}

TEST(ResourceLimits, WhatTheShellMayNotLiftIsForOthers) {
  EXPECT_TRUE(test::in_child([] {
    const rlimit hard{64 * 1024, 64 * 1024};
    ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &hard), 0);
    if (::geteuid() == 0) test::become_nobody();
    EXPECT_THAT(lift_command(RLIMIT_FSIZE),
                HasSubstr(in_container() ? "docker run --ulimit fsize=-1" : "sudo prlimit"));
  }));
}

TEST(NetworkNamespace, AnotherThanTheMachinesOwnLacksItsSettings) {
  const test::TemporaryDirectory proc;
  const auto put = [&](const char* setting) {
    const auto folder = proc / "sys/net/core";
    fs::create_directories(folder);
    test::write_file(folder / setting, {});
  };
  EXPECT_FALSE(in_network_namespace(proc.path())) << "nothing is known";
  put("somaxconn");
  EXPECT_TRUE(in_network_namespace(proc.path()));
  put("netdev_max_backlog");
  EXPECT_FALSE(in_network_namespace(proc.path()));
}

TEST(KernelRelease, IsComparedByItsNumbers) {
  EXPECT_TRUE(is_older("6.1.0-56-amd64", 7, 2));
  EXPECT_TRUE(is_older("7.1.9", 7, 2));
  EXPECT_FALSE(is_older("7.2-rc1", 7, 2));
  EXPECT_FALSE(is_older("7.10.0", 7, 2));
  EXPECT_FALSE(is_older("8.0", 7, 2));
  EXPECT_FALSE(is_older("unknown", 7, 2));
}

}  // namespace
}  // namespace mempool::programs
