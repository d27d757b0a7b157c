// The system's errors as Errors that name what was tried, the path and the reason.
#pragma once

#include <filesystem>
#include <string_view>

#include <mempool/result.h>

namespace mempool::spill {

/// What a program should do about errno value `error`.
Code code_of(int error) noexcept;

/// "cannot open '/a/b': Permission denied".
tl::unexpected<Error> system_failure(int error, std::string_view what,
                                     const std::filesystem::path& path);

/// "'/a/b': reason".
tl::unexpected<Error> path_failure(Code code, const std::filesystem::path& path,
                                   std::string_view reason);

}  // namespace mempool::spill
