// errno as a value, for the programs' own files.
#pragma once

#include <cerrno>
#include <string>

#include <mempool/result.h>

#include "spill/error.h"

namespace mempool::programs {

inline tl::unexpected<Error> system_error(const std::string& what, int reason = errno) {
  return fail(spill::code_of(reason), what + ": " + spill::reason_of(reason));
}

/// Of a call that makes a file at `path`.
inline tl::unexpected<Error> creation_error(const std::string& path, int reason = errno) {
  return fail(spill::code_of(reason), path + ": " + spill::reason_of_creation(reason, path));
}

}  // namespace mempool::programs
