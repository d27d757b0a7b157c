// A file, or standard input, as bytes that are held once.
#pragma once

#include <cstddef>
#include <span>
#include <string>

#include <mempool/result.h>

namespace mempool::programs {

/// The bytes of a file, mapped, as far as it went when it was opened. What has no size to go by -
/// standard input ("-"), files such as those of /proc - is first written to a nameless file, where
/// TMPDIR says. Move-only; a program has one at a time.
class SourceFile {
 public:
  static Result<SourceFile> open(const std::string& path);
  SourceFile(SourceFile&& other) noexcept;
  SourceFile& operator=(SourceFile&&) = delete;
  ~SourceFile();

  std::span<const std::byte> bytes() const noexcept { return bytes_; }

  /// For who has used the bytes. An error: meanwhile the file was cut off, or could not be read any
  /// more, and zeros were in the place of what was missing.
  Status whole() const;

 private:
  SourceFile() = default;
  static Result<SourceFile> copy(int from, const std::string& path);
  /// Takes the descriptor.
  static Result<SourceFile> show(int& fd, void* mapped, std::size_t size, const std::string& path);

  std::string path_;
  int fd_ = -1;  // of what is mapped
  std::span<const std::byte> bytes_;
};

}  // namespace mempool::programs
