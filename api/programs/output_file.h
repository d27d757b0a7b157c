// Where `get` writes.
#pragma once

#include <cstddef>
#include <span>
#include <string>

#include <sys/stat.h>

#include <mempool/result.h>

namespace mempool::programs {

/// A file that is complete or as it was before, also when SIGHUP, SIGINT or SIGTERM ends the
/// program: the bytes go to a file beside it, which takes its place when it is finished. It keeps
/// mode and owner, and links that lead to it stay. What is no regular file - a pipe, a device - is
/// written to as it is, and so is standard output ("-"). Move-only, one at a time.
class OutputFile {
 public:
  static Result<OutputFile> open(const std::string& path);
  OutputFile(OutputFile&& other) noexcept;
  OutputFile& operator=(OutputFile&&) = delete;
  /// Not finished: the bytes are thrown away.
  ~OutputFile();

  Status write(std::span<const std::byte> bytes);
  Status finish();

 private:
  OutputFile() = default;
  Status replace_regular(const struct stat* existing);
  tl::unexpected<Error> failed() const;

  int fd_ = -1;
  std::string path_;       // as asked for; empty: standard output
  std::string target_;     // behind all links; empty: written to directly
  std::string temporary_;  // is there until finish()
};

}  // namespace mempool::programs
