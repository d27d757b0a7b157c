// Files without a name, which nobody finds and which are gone when they are closed.
#pragma once

#include <cerrno>
#include <cstdlib>
#include <filesystem>

#include <fcntl.h>
#include <unistd.h>

namespace mempool::programs {

/// A descriptor, to read and write; -1 and errno when it cannot be made.
inline int open_nameless(const std::filesystem::path& directory) {
  const int fd = open(directory.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  // Not all file systems have them, and not all kernels.
  if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR)) return fd;
  auto name = (directory / ".mempool-XXXXXX").native();
  const int named = mkostemp(name.data(), O_CLOEXEC);
  if (named >= 0) unlink(name.c_str());
  return named;
}

}  // namespace mempool::programs
