// What the doctor's examinations ask the system.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

namespace mempool::programs {

/// The first line of a file; empty when there is none.
std::string line_of(const std::filesystem::path& file);

/// A command that only root may run: with sudo, unless this process is root.
std::string as_root(const std::string& command);

bool in_container();

/// Whether this process is in another network namespace than the machine itself, as those of
/// containers are. `proc`: where that is; false where it does not tell.
bool in_network_namespace(const std::filesystem::path& proc = "/proc");

/// "6.1.0-56-amd64"
std::string kernel_release();
/// Whether a kernel is older than MAJOR.MINOR; not where its release says neither.
bool is_older(const std::string& release, int major, int minor);

/// A resource limit of this process, RLIMIT_...; nothing when it is unlimited.
std::optional<std::uint64_t> resource_limit(int resource);

/// The command that lifts a resource limit: in this shell where it may, else as root, or by who
/// starts the container.
std::string lift_command(int resource);

/// Limits of the control groups that this process is in, the least of all levels.
struct GroupLimits {
  std::optional<std::uint64_t> memory_bytes;
  std::optional<std::uint64_t> processes;
  std::optional<double> processors;
};

/// `root`: where proc and sys are, for version 1 and 2 of control groups.
GroupLimits group_limits(const std::filesystem::path& root = "/");

}  // namespace mempool::programs
