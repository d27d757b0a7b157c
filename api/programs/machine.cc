#include "api/programs/machine.h"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <fstream>

#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

namespace mempool::programs {
namespace {

namespace fs = std::filesystem;

/// Nothing for "max", "-1" and what is not there.
std::optional<std::uint64_t> number_in(const fs::path& file) {
  const auto line = line_of(file);
  std::uint64_t number = 0;
  const auto parsed = std::from_chars(line.data(), line.data() + line.size(), number);
  // Version 1 says "no limit" with a number near 2^63.
  if (parsed.ec != std::errc() || number >= std::uint64_t{1} << 62) return std::nullopt;
  return number;
}

template <class Number>
void lower_to(std::optional<Number>& limit, std::optional<Number> other) {
  if (other && (!limit || *other < *limit)) limit = other;
}

/// "400000 100000": microseconds of processor time in a period.
std::optional<double> processors_in(const std::string& quota, const std::string& period) {
  double microseconds = 0;
  double of = 0;
  std::from_chars(quota.data(), quota.data() + quota.size(), microseconds);
  std::from_chars(period.data(), period.data() + period.size(), of);
  if (microseconds <= 0 || of <= 0) return std::nullopt;
  return microseconds / of;
}

void read_level(const fs::path& level, GroupLimits& limits) {
  lower_to(limits.memory_bytes, number_in(level / "memory.max"));
  lower_to(limits.memory_bytes, number_in(level / "memory.limit_in_bytes"));
  lower_to(limits.processes, number_in(level / "pids.max"));
  const auto cpu = line_of(level / "cpu.max");
  const auto space = cpu.find(' ');
  if (space != std::string::npos)
    lower_to(limits.processors, processors_in(cpu.substr(0, space), cpu.substr(space + 1)));
  lower_to(limits.processors, processors_in(line_of(level / "cpu.cfs_quota_us"),
                                            line_of(level / "cpu.cfs_period_us")));
}

struct LimitName {
  int resource;
  char ulimit;
  const char* name;  // of prlimit
  bool docker;       // has one of the same name
};
constexpr LimitName kLimitNames[] = {
    {RLIMIT_MEMLOCK, 'l', "memlock", true}, {RLIMIT_FSIZE, 'f', "fsize", true},
    {RLIMIT_NOFILE, 'n', "nofile", true},   {RLIMIT_NPROC, 'u', "nproc", true},
    {RLIMIT_AS, 'v', "as", false},
};

/// By trying it, and taking it back.
bool may_set(int resource, rlim_t value) {
  const auto which = static_cast<__rlimit_resource_t>(resource);
  rlimit before{};
  const rlimit lifted{value, value};
  return getrlimit(which, &before) == 0 && setrlimit(which, &lifted) == 0 &&
         setrlimit(which, &before) == 0;
}

}  // namespace

std::string line_of(const fs::path& file) {
  std::ifstream in(file);
  std::string line;
  std::getline(in, line);
  return line;
}

std::string as_root(const std::string& command) {
  return (geteuid() == 0 ? "" : "sudo ") + command;
}

bool in_container() {
  // Docker and podman leave a file; others say it to what they start.
  std::error_code error;
  return fs::exists("/.dockerenv", error) || fs::exists("/run/.containerenv", error) ||
         fs::exists("/run/systemd/container", error) ||
         fs::exists("/var/run/secrets/kubernetes.io", error);
}

/// The machine's own namespace has settings of the whole network stack, which no other one shows.
/// Namespaces have numbers, too; what that of the first one is, differs from kernel to kernel.
bool in_network_namespace(const fs::path& proc) {
  const auto settings = proc / "sys/net/core";
  std::error_code error;
  return fs::exists(settings / "somaxconn", error) &&
         !fs::exists(settings / "netdev_max_backlog", error);
}

std::string kernel_release() {
  utsname system{};
  uname(&system);
  return system.release;
}

bool is_older(const std::string& release, int major, int minor) {
  int its_major = 0;
  int its_minor = 0;
  if (std::sscanf(release.c_str(), "%d.%d", &its_major, &its_minor) != 2) return false;
  return its_major < major || (its_major == major && its_minor < minor);
}

std::optional<std::uint64_t> resource_limit(int resource) {
  rlimit limit{};
  if (getrlimit(static_cast<__rlimit_resource_t>(resource), &limit) != 0 ||
      limit.rlim_cur == RLIM_INFINITY)
    return std::nullopt;
  return limit.rlim_cur;
}

std::string lift_command(int resource) {
  const auto* named = std::ranges::find(kLimitNames, resource, &LimitName::resource);
  const std::string name = named->name;
  // The kernel has a largest number of descriptors, and takes no "unlimited" for it.
  const bool counted = resource == RLIMIT_NOFILE;
  const std::string value = counted ? "65536" : "unlimited";
  if (may_set(resource, counted ? 65536 : RLIM_INFINITY))
    return std::string("ulimit -") + named->ulimit + " " + value;
  if (in_container())
    return "docker run --ulimit " + name + "=" + (counted ? value : "-1") + " ...";
  return as_root("prlimit --pid $$ --" + name + "=" + value + ":" + value);
}

GroupLimits group_limits(const fs::path& root) {
  GroupLimits limits;
  std::ifstream groups(root / "proc/self/cgroup");
  // "0::/user.slice" is version 2; "4:memory:/docker/1f" is version 1.
  for (std::string line; std::getline(groups, line);) {
    const auto first = line.find(':');
    const auto second = line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const auto controller = line.substr(first + 1, second - first - 1);
    const auto mount = root / "sys/fs/cgroup" / controller;
    // A container sees its own group as the root, under a path that is the host's.
    fs::path path = line.substr(second + 1);
    for (auto level = path.relative_path(); !level.empty(); level = level.parent_path())
      read_level(mount / level, limits);
    read_level(mount, limits);
  }
  return limits;
}

}  // namespace mempool::programs
