#include "spill/error.h"

#include <cerrno>
#include <string>
#include <system_error>

namespace mempool::spill {

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

tl::unexpected<Error> system_failure(int error, std::string_view what,
                                     const std::filesystem::path& path) {
  std::string message = "cannot ";
  message.append(what).append(" '").append(path.native()).append("': ");
  return fail(code_of(error), message + std::generic_category().message(error));
}

tl::unexpected<Error> path_failure(Code code, const std::filesystem::path& path,
                                   std::string_view reason) {
  std::string message = "'";
  message.append(path.native()).append("': ").append(reason);
  return fail(code, std::move(message));
}

}  // namespace mempool::spill
