// A file, or standard input, as bytes that are held once.
#pragma once

#include <cstddef>
#include <span>
#include <string>

#include <mempool/result.h>

namespace mempool::programs {

/// The bytes of a file, mapped; standard input ("-") is first written to a nameless file, where
/// TMPDIR says, because its size is not known. Move-only. A file that shrinks while it is read ends
/// the program with SIGBUS.
class SourceFile {
 public:
  static Result<SourceFile> open(const std::string& path);
  SourceFile(SourceFile&& other) noexcept;
  SourceFile& operator=(SourceFile&&) = delete;
  ~SourceFile();

  std::span<const std::byte> bytes() const noexcept { return bytes_; }

 private:
  SourceFile() = default;
  static Result<SourceFile> map(int fd, const std::string& path);
  std::span<const std::byte> bytes_;
};

}  // namespace mempool::programs
