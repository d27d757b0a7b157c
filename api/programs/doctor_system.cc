// What a node needs of the system besides memory and disk: processors, threads, descriptors, fork,
// clock.
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include <sched.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "api/programs/doctor.h"
#include "api/programs/machine.h"
#include "transport/rdma_devices.h"

namespace mempool::programs {
namespace {

/// Workers, one for control connections, one a provider, those of providers, and some to spare.
constexpr std::size_t kThreads = 32;
/// For a few hundred clients, each with a control connection and one for a TCP provider.
constexpr std::uint64_t kOpenFiles = 1024;
constexpr double kSlowClock_ns = 500;

std::string decimal(double number) {
  char text[32];
  std::snprintf(text, sizeof text, number < 10 ? "%.2g" : "%.0f", number);
  return text;
}

Finding examine_processors() {
  cpu_set_t set;
  CPU_ZERO(&set);
  const int error = sched_getaffinity(0, sizeof set, &set);
  const double seen = error ? std::thread::hardware_concurrency() : CPU_COUNT(&set);
  const auto allowed = group_limits().processors;
  const double usable = std::min(seen, allowed.value_or(seen));
  const auto sentence = "this process may use " + decimal(usable) + " of them";
  if (usable >= 2) return {Sign::kFine, "processors", sentence, {}};
  return {Sign::kWarning,
          "processors",
          sentence + "; a node that serves and spills at once wants 2",
          {allowed && *allowed < 2 ? "docker run --cpus 2 ..." : "taskset -p ff $$"}};
}

/// Starts that many threads at once, and ends them.
std::size_t threads_started() {
  std::atomic<bool> end{false};
  std::vector<std::thread> threads;
  try {
    while (threads.size() < kThreads) threads.emplace_back([&end] { end.wait(false); });
  } catch (const std::system_error&) {
    // The limit is what was asked for.
  }
  end = true;
  end.notify_all();
  for (auto& thread : threads) thread.join();
  return threads.size();
}

Finding examine_threads() {
  const auto started = threads_started();
  const auto group = group_limits().processes;
  const auto what = std::to_string(started) + " threads start at once";
  if (started == kThreads) return {Sign::kFine, "threads", what, {}};
  return {Sign::kProblem,
          "threads",
          "only " + what + "; a node needs " + std::to_string(kThreads) +
              (group ? ", and the control group (container) allows " + std::to_string(*group) : ""),
          {group && *group < 2 * kThreads && in_container() ? "docker run --pids-limit 512 ..."
                                                            : lift_command(RLIMIT_NPROC)}};
}

Finding examine_open_files() {
  const auto limit = resource_limit(RLIMIT_NOFILE);
  const auto sentence =
      limit ? std::to_string(*limit) + " files and connections may be open" : "no limit";
  if (limit.value_or(kOpenFiles) >= kOpenFiles) return {Sign::kFine, "open files", sentence, {}};
  return {Sign::kWarning,
          "open files",
          sentence + "; each client takes a few",
          {lift_command(RLIMIT_NOFILE)}};
}

/// Whether memory that is kept from forks is gone in a child, as a pool's is.
bool forks_leave_memory_out() {
  const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  void* memory = mmap(nullptr, page, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return false;
  bool left_out = false;
  if (madvise(memory, page, MADV_DONTFORK) == 0) {
    const pid_t child = fork();
    if (child == 0) {
      unsigned char resident = 0;
      _exit(mincore(memory, page, &resident) != 0 && errno == ENOMEM ? 0 : 1);
    }
    int status = 1;
    left_out = child > 0 && waitpid(child, &status, 0) == child && status == 0;
  }
  munmap(memory, page);
  return left_out;
}

Finding examine_fork() {
  if (!forks_leave_memory_out())
    return {Sign::kWarning,
            "fork",
            "this system does not keep a pool's memory from forked children; a program that has "
            "a pool must not fork",
            {}};
  // Older kernels make registered pages copy-on-write in the parent.
  const auto release = kernel_release();
  if (!is_older(release, 5, 12) || transport::rdma_ports().empty())
    return {Sign::kFine,
            "fork",
            "programs with a pool may fork; the child has no part of its memory",
            {}};
  return {
      Sign::kWarning,
      "fork",
      "with kernel " + release + " a fork breaks registered memory unless libibverbs is told of it",
      {"export RDMAV_FORK_SAFE=1"}};
}

Finding examine_clock() {
  constexpr int kReadings = 1000;
  timespec now{};
  if (clock_gettime(CLOCK_BOOTTIME, &now) != 0)
    return {Sign::kProblem,
            "clock",
            std::string("there is no CLOCK_BOOTTIME (") + std::strerror(errno) +
                "), by which slow reads are found",
            {"mempoold --read-window-ms 0 ..."}};
  const auto begin = std::chrono::steady_clock::now();
  for (int i = 0; i < kReadings; ++i) clock_gettime(CLOCK_BOOTTIME, &now);
  const std::chrono::duration<double, std::nano> each =
      (std::chrono::steady_clock::now() - begin) / kReadings;
  const std::filesystem::path sources = "/sys/devices/system/clocksource/clocksource0";
  const auto sentence = "reading it takes " + decimal(each.count()) + " ns, source " +
                        line_of(sources / "current_clocksource");
  if (each.count() < kSlowClock_ns) return {Sign::kFine, "clock", sentence, {}};
  const auto available = line_of(sources / "available_clocksource");
  Commands remedy;
  for (const char* quick : {"tsc", "kvm-clock"})
    if (remedy.empty() && (available + " ").find(quick + std::string(" ")) != std::string::npos)
      remedy = {"echo " + std::string(quick) + " | " +
                as_root("tee " + (sources / "current_clocksource").native())};
  return {Sign::kWarning, "clock", sentence + ": every remote read looks at it twice", remedy};
}

bool in_virtual_machine() {
  std::error_code error;
  if (std::filesystem::exists("/sys/hypervisor/type", error) ||
      std::filesystem::exists("/proc/device-tree/hypervisor", error))
    return true;
  std::ifstream in("/proc/cpuinfo");
  for (std::string line; std::getline(in, line);)
    if (line.starts_with("flags")) return (line + " ").find(" hypervisor ") != std::string::npos;
  return false;
}

Finding examine_pauses(const PoolOptions& options) {
  if (!in_virtual_machine())
    return {Sign::kFine, "pauses", "no virtual machine: the clock sees every pause", {}};
  if (options.reread)
    return {Sign::kFine, "pauses", "with reread every one-sided read is verified twice", {}};
  return {Sign::kWarning,
          "pauses",
          "this is a virtual machine; if it may be paused or moved without its clock noticing, "
          "one-sided reads must be verified twice",
          {"export MEMPOOL_REREAD=true"}};
}

}  // namespace

Findings examine_system(const PoolOptions& options) {
  return {examine_processors(), examine_threads(), examine_open_files(),
          examine_fork(),       examine_clock(),   examine_pauses(options)};
}

}  // namespace mempool::programs
