#include "store/region.h"

#include <cerrno>
#include <cstring>
#include <string>
#include <utility>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

// Older userland headers than the kernel's know neither.
#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x0010
#endif

namespace mempool::store {
namespace {

constexpr int kSeals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE | F_SEAL_SEAL;

std::string reason(int error) {
  return std::strerror(error);
}

std::string size_text(std::size_t bytes) {
  return std::to_string(bytes >> 20) + " MiB";
}

Result<std::size_t> round_to_pages(std::size_t bytes) {
  const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  if (bytes == 0) return fail(Code::kInvalidArgument, "a region of 0 bytes: choose a size");
  if (bytes > static_cast<std::size_t>(PTRDIFF_MAX) - page)
    return fail(Code::kInvalidArgument, "a region of " + size_text(bytes) + " is too large");
  return (bytes + page - 1) / page * page;
}

rlim_t limit_of(__rlimit_resource resource) {
  struct rlimit limit {};
  return ::getrlimit(resource, &limit) == 0 ? limit.rlim_cur : RLIM_INFINITY;
}

tl::unexpected<Error> creation_failure(int error) {
  if (error == EMFILE)
    return fail(Code::kLimit, "no descriptor left for the pool's memory (" + reason(error) +
                                  "): raise the limit of open files, see ulimit -n");
  if (error == ENFILE)
    return fail(Code::kLimit, "no file left in the system for the pool's memory (" + reason(error) +
                                  "): raise fs.file-max, see sysctl");
  return fail(Code::kIo, "memfd_create for the pool's memory: " + reason(error));
}

// The limit of file sizes counts for shared memory too, and whoever exceeds it gets SIGXFSZ, which
// ends the process.
Status check_file_limit(std::size_t bytes) {
  const auto limit = limit_of(RLIMIT_FSIZE);
  if (limit == RLIM_INFINITY || bytes <= limit) return {};
  return fail(Code::kLimit, "the pool's memory takes " + size_text(bytes) +
                                ", and the process's limit of file sizes, which counts for shared "
                                "memory too, is " +
                                std::to_string(limit) +
                                " bytes: raise it, see ulimit -f, or choose a smaller max_memsize");
}

// The memory is not reserved: what is short is addresses.
tl::unexpected<Error> mapping_failure(std::size_t bytes, int error) {
  const auto limit = limit_of(RLIMIT_AS);
  const std::string remedy =
      limit == RLIM_INFINITY
          ? "choose a smaller max_memsize, or see vm.max_map_count"
          : "the process's limit of addresses is " + std::to_string(limit) +
                " bytes: raise it, see ulimit -v, or choose a smaller max_memsize";
  return fail(Code::kLimit,
              "mapping " + size_text(bytes) + " of memory: " + reason(error) + "; " + remedy);
}

}  // namespace

Result<Region> Region::create(std::size_t bytes) {
  auto rounded = round_to_pages(bytes);
  if (!rounded) return forward_error(std::move(rounded));
  if (auto allowed = check_file_limit(*rounded); !allowed) return forward_error(std::move(allowed));
  const int fd = ::memfd_create("mempool-region", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (fd < 0) return creation_failure(errno);
  Region region({}, fd);  // closes the descriptor on every way out

  if (::ftruncate(fd, static_cast<off_t>(*rounded)) != 0)
    return fail(Code::kLimit, "sizing the pool's memory to " + size_text(*rounded) + ": " +
                                  reason(errno) + "; choose a smaller max_memsize");
  void* mapped =
      ::mmap(nullptr, *rounded, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
  if (mapped == MAP_FAILED) return mapping_failure(*rounded, errno);
  region.bytes_ = {static_cast<std::byte*>(mapped), *rounded};

  // Sealed only now: FUTURE_WRITE keeps the mapping above writable and refuses all later ones.
  if (::fcntl(fd, F_ADD_SEALS, kSeals) != 0)
    return fail(Code::kUnsupported,
                "sealing the pool's memory: " + reason(errno) + "; Linux 5.1 or later is needed");
  if (::madvise(mapped, *rounded, MADV_DONTFORK) != 0)
    return fail(Code::kUnsupported, "MADV_DONTFORK for the pool's memory: " + reason(errno));
  // Advice only: a core file that holds the blobs is large, not wrong.
  ::madvise(mapped, *rounded, MADV_DONTDUMP);
  return region;
}

Region::Region(Region&& other) noexcept
    : bytes_(std::exchange(other.bytes_, {})), fd_(std::exchange(other.fd_, -1)) {}

Region& Region::operator=(Region&& other) noexcept {
  // The temporary takes what this region held, and releases it.
  Region old(std::exchange(bytes_, other.bytes_), std::exchange(fd_, other.fd_));
  if (this == &other) {
    old.bytes_ = {};
    old.fd_ = -1;
    return *this;
  }
  other.bytes_ = {};
  other.fd_ = -1;
  return *this;
}

Region::~Region() {
  if (!bytes_.empty()) ::munmap(bytes_.data(), bytes_.size());
  if (fd_ >= 0) ::close(fd_);
}

}  // namespace mempool::store
