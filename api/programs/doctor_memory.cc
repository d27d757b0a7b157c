// The memory of a node: whether it can be had, locked, and in which pages it comes.
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <string>

#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <mempool/detail/region_size.h>

#include "api/programs/doctor.h"
#include "api/programs/machine.h"
#include "api/programs/print.h"
#include "transport/memory_lock.h"
#include "transport/provider.h"

namespace mempool::programs {
namespace {

std::string reason(int error) {
  return std::strerror(error);
}

std::string limit_text(int resource) {
  const auto limit = resource_limit(resource);
  return limit ? human_bytes(*limit) : "unlimited";
}

/// A value of /proc/meminfo or /proc/self/smaps, in bytes; the sum where it is there several times.
std::uint64_t bytes_of(const char* file, const std::string& name) {
  std::uint64_t kibibytes = 0;
  std::ifstream in(file);
  for (std::string line; std::getline(in, line);)
    if (line.starts_with(name + ":")) kibibytes += std::stoull(line.substr(name.size() + 1));
  return kibibytes << 10;
}

/// Pages of a memfd, as a node's region is, mapped and given back.
class Region {
 public:
  explicit Region(std::uint64_t bytes) : bytes_(bytes) {
    fd_ = memfd_create("mempool-doctor", MFD_CLOEXEC);
    if (fd_ < 0 || ftruncate(fd_, static_cast<off_t>(bytes)) != 0) {
      size_error_ = errno;
      return;
    }
    mapped_ = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd_, 0);
    if (mapped_ == MAP_FAILED) map_error_ = errno;
  }
  Region(const Region&) = delete;
  Region& operator=(const Region&) = delete;
  ~Region() {
    if (mapped_ != MAP_FAILED) munmap(mapped_, bytes_);
    if (fd_ >= 0) close(fd_);
  }

  int size_error() const { return size_error_; }
  int map_error() const { return map_error_; }
  bool mapped() const { return mapped_ != MAP_FAILED; }
  char* data() const { return static_cast<char*>(mapped_); }

 private:
  std::uint64_t bytes_;
  int fd_ = -1;
  int size_error_ = 0;
  int map_error_ = 0;
  void* mapped_ = MAP_FAILED;
};

Finding examine_region(const Region& region, std::uint64_t bytes, std::uint64_t max_memsize) {
  const auto what = "a node with max-memsize " + human_bytes(max_memsize) + " takes " +
                    human_bytes(bytes) + " of addresses";
  Finding finding{Sign::kProblem, "region", {}, {}};
  if (region.mapped()) return {Sign::kFine, "region", what + ", and gets them", {}};
  if (region.size_error()) {
    finding.sentence = what + ", and cannot size them: " + reason(region.size_error());
    if (region.size_error() == EFBIG) {
      finding.sentence += " (the limit of file sizes, which counts for shared memory too, is " +
                          limit_text(RLIMIT_FSIZE) + ")";
      finding.remedy = {lift_command(RLIMIT_FSIZE)};
    }
  } else {
    finding.sentence = what + ", and cannot map them: " + reason(region.map_error()) +
                       " (the limit of address space is " + limit_text(RLIMIT_AS) + ")";
    if (resource_limit(RLIMIT_AS)) finding.remedy = {lift_command(RLIMIT_AS)};
  }
  if (finding.remedy.empty()) finding.remedy = {"mempoold --max-memsize 64MiB ..."};
  return finding;
}

Finding examine_room(std::uint64_t max_memsize) {
  const auto total = bytes_of("/proc/meminfo", "MemTotal");
  const auto available = bytes_of("/proc/meminfo", "MemAvailable");
  const auto group = group_limits().memory_bytes;
  const auto most = std::min(total, group.value_or(total));
  const auto sizes =
      human_bytes(max_memsize) + " of blobs; this machine has " + human_bytes(total) +
      " of memory, " + human_bytes(available) + " of it available" +
      (most < total ? ", and the control group (container) allows " + human_bytes(most) : "");
  const Commands smaller{"mempoold --max-memsize " + std::to_string((most / 2) >> 20) + "MiB ..."};
  if (max_memsize > most)
    return {Sign::kProblem, "memory", "the system kills a node before it holds " + sizes, smaller};
  if (max_memsize > available)
    return {Sign::kWarning, "memory", "the machine swaps before a node holds " + sizes, smaller};
  return {Sign::kFine, "memory", "there is room for " + sizes, {}};
}

Finding examine_lock(std::uint64_t bytes, const PoolOptions& options) {
  const auto present = transport::present_providers();
  const bool rdma = std::ranges::any_of(
      present, [](const auto& name) { return transport::find_provider(name)->rdma; });
  const auto limit = limit_text(RLIMIT_MEMLOCK);
  const auto what = "RDMA needs " + human_bytes(bytes) + " locked, the limit is " + limit;
  if (transport::lock_error(bytes) == 0) {
    const bool within = resource_limit(RLIMIT_MEMLOCK).value_or(bytes) >= bytes;
    return {Sign::kFine,
            "memory lock",
            what + (within ? "" : ", which does not count for this user (CAP_IPC_LOCK)"),
            {}};
  }
  const bool needed = rdma || options.require_rdma;
  return {needed ? Sign::kProblem : Sign::kWarning,
          "memory lock",
          what + (needed ? ": a node works without RDMA, or not at all"
                         : ": it matters as soon as there is RDMA here"),
          {lift_command(RLIMIT_MEMLOCK)}};
}

/// Touches one huge page of memory such as a node's, and looks what it became.
Finding examine_huge_pages() {
  constexpr std::uint64_t kHugePage = std::uint64_t{2} << 20;
  const auto setting = line_of("/sys/kernel/mm/transparent_hugepage/shmem_enabled");
  const auto before = bytes_of("/proc/self/smaps", "ShmemPmdMapped");
  const Region region(4 * kHugePage);
  if (!region.mapped())
    return {Sign::kWarning,
            "huge pages",
            "could not be tried: " +
                reason(region.size_error() ? region.size_error() : region.map_error()),
            {}};
  const auto at = reinterpret_cast<std::uintptr_t>(region.data());
  region.data()[(kHugePage - at % kHugePage) % kHugePage] = 1;
  if (bytes_of("/proc/self/smaps", "ShmemPmdMapped") > before)
    return {Sign::kFine, "huge pages", "memory of nodes comes in huge pages", {}};
  return {Sign::kWarning, "huge pages",
          "memory of nodes comes in small pages (shmem_enabled: " +
              (setting.empty() ? "not in this kernel" : setting) +
              "); huge ones make large caches faster",
          setting.empty()
              ? Commands{}
              : Commands{"echo within_size | " + as_root("tee /sys/kernel/mm/transparent_hugepage/"
                                                         "shmem_enabled")}};
}

Finding examine_shared_memory(const PoolOptions& options) {
  constexpr std::uint64_t kEnough = std::uint64_t{64} << 20;
  struct statvfs room {};
  const bool mounted = statvfs("/dev/shm", &room) == 0;
  const std::uint64_t free = mounted ? room.f_bavail * room.f_frsize : 0;
  const bool used = std::ranges::any_of(options.providers, [](const std::string& name) {
    const auto* provider = transport::find_provider(name);
    return provider && !provider->automatic;
  });
  const auto sentence = "/dev/shm has " + human_bytes(free) +
                        " of room; a node's own memory does not come from there";
  if (free >= kEnough || !used) return {Sign::kFine, "shared memory", sentence, {}};
  return {Sign::kWarning,
          "shared memory",
          sentence,
          {in_container() ? "docker run --shm-size 1g ..."
                          : as_root("mount -o remount,size=1g /dev/shm")}};
}

}  // namespace

Findings examine_memory(const PoolOptions& options) {
  if (options.max_memsize == 0 || options.max_memsize > kLargestMemsize)
    return {{Sign::kProblem,
             "memory",
             "no node has a max-memsize of " + human_bytes(options.max_memsize),
             {"mempoold --max-memsize 1GiB ..."}}};
  const auto bytes = region_bytes(options.max_memsize, /*exposed=*/true);
  const auto region = examine_region(Region(bytes), bytes, options.max_memsize);
  return {region, examine_room(options.max_memsize), examine_lock(bytes, options),
          examine_huge_pages(), examine_shared_memory(options)};
}

}  // namespace mempool::programs
