// errno as a value, for the programs' own files.
#pragma once

#include <cerrno>
#include <cstring>
#include <string>

#include <mempool/result.h>

namespace mempool::programs {

inline tl::unexpected<Error> system_error(const std::string& what, int reason = errno) {
  const auto code = reason == ENOENT || reason == ENOTDIR ? Code::kNotFound
                    : reason == EACCES || reason == EPERM || reason == EROFS
                        ? Code::kPermissionDenied
                    : reason == ENOSPC || reason == EDQUOT || reason == EFBIG ? Code::kNoSpace
                                                                              : Code::kIo;
  return fail(code, what + ": " + std::strerror(reason));
}

}  // namespace mempool::programs
