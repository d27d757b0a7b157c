#include "spill/error.h"

#include <cerrno>
#include <string>
#include <system_error>

#include <sys/resource.h>
#include <sys/statvfs.h>

namespace mempool::spill {
namespace {

namespace fs = std::filesystem;

// " (ulimit -n allows 1024)"; nothing where there is no such limit.
std::string limit_text(__rlimit_resource resource, std::string_view name) {
  struct rlimit limit {};
  if (::getrlimit(resource, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return {};
  return std::string(" (").append(name) + " allows " + std::to_string(limit.rlim_cur) + ")";
}

bool out_of_inodes(fs::path path) {
  struct statvfs disk {};
  while (::statvfs(path.c_str(), &disk) != 0) {
    if (!path.has_relative_path()) return false;
    path = path.parent_path();
  }
  // Some file systems make inodes as they need them, and count none.
  return disk.f_files != 0 && disk.f_favail == 0;
}

std::string failure_text(std::string_view what, const fs::path& path, std::string_view reason) {
  std::string message = "cannot ";
  return message.append(what).append(" '").append(path.native()).append("': ").append(reason);
}

}  // namespace

Code code_of(int error) noexcept {
  switch (error) {
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
      return Code::kNoSpace;
    case EACCES:
    case EPERM:
    case EROFS:
      return Code::kPermissionDenied;
    case ENOENT:
    case ENOTDIR:
    case ELOOP:
    case ENAMETOOLONG:
      return Code::kNotFound;  // no file can be at such a path
    case EEXIST:
      return Code::kExists;
    case EISDIR:
      return Code::kInvalidArgument;
    case EMFILE:
    case ENFILE:
    case ENOMEM:
      return Code::kLimit;
    default:
      return Code::kIo;
  }
}

std::string reason_of(int error) {
  const std::string reason = std::generic_category().message(error);
  switch (error) {
    case EMFILE:
      return reason + limit_text(RLIMIT_NOFILE, "ulimit -n");
    case ENFILE:
      return reason + " (all processes together; see fs.file-max)";
    case EFBIG:
      return reason + limit_text(RLIMIT_FSIZE, "ulimit -f");
    case ENOMEM:
      return reason + limit_text(RLIMIT_AS, "ulimit -v");
    default:
      return reason;
  }
}

std::string reason_of_creation(int error, const fs::path& path) {
  if (error != ENOSPC || !out_of_inodes(path)) return reason_of(error);
  return "the file system has no inodes left, whatever room it has (df -i): remove files";
}

tl::unexpected<Error> system_failure(int error, std::string_view what, const fs::path& path) {
  return fail(code_of(error), failure_text(what, path, reason_of(error)));
}

tl::unexpected<Error> creation_failure(int error, std::string_view what, const fs::path& path) {
  return fail(code_of(error), failure_text(what, path, reason_of_creation(error, path)));
}

tl::unexpected<Error> path_failure(Code code, const std::filesystem::path& path,
                                   std::string_view reason) {
  std::string message = "'";
  message.append(path.native()).append("': ").append(reason);
  return fail(code, std::move(message));
}

}  // namespace mempool::spill
