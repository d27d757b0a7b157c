// The system's errors as Errors that name what was tried, the path and the reason.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include <mempool/result.h>

namespace mempool::spill {

/// What a program should do about errno value `error`.
Code code_of(int error) noexcept;

/// "Too many open files (ulimit -n allows 1024)": the system's words, and the limit that was met.
std::string reason_of(int error);

/// The same of a call that makes a file or a directory at `path`: "No space left on device" is said
/// of a file system without inodes as well, where other files have to go.
std::string reason_of_creation(int error, const std::filesystem::path& path);

/// "cannot open '/a/b': Permission denied".
tl::unexpected<Error> system_failure(int error, std::string_view what,
                                     const std::filesystem::path& path);

/// system_failure() of a call that makes a file or a directory.
tl::unexpected<Error> creation_failure(int error, std::string_view what,
                                       const std::filesystem::path& path);

/// "'/a/b': reason".
tl::unexpected<Error> path_failure(Code code, const std::filesystem::path& path,
                                   std::string_view reason);

}  // namespace mempool::spill
