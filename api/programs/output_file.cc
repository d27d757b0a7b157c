#include "api/programs/output_file.h"

#include <array>
#include <cerrno>
#include <climits>
#include <csignal>
#include <filesystem>
#include <utility>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api/programs/system_error.h"

namespace mempool::programs {
namespace {

namespace fs = std::filesystem;

/// What the signals' handler removes; the name is this process's own.
std::array<char, PATH_MAX> unfinished;

/// Only async-signal-safe calls.
void remove_and_end(int number) {
  unlink(unfinished.data());
  std::signal(number, SIG_DFL);
  std::raise(number);
}

void remove_at_end(const std::string& temporary) {
  unfinished.fill('\0');
  temporary.copy(unfinished.data(), unfinished.size() - 1);
  for (const int number : {SIGHUP, SIGINT, SIGTERM})
    if (std::signal(number, remove_and_end) == SIG_IGN) std::signal(number, SIG_IGN);
}

/// The file that is opened for a path, whether or not it is there yet.
fs::path behind_links(fs::path path) {
  std::error_code error;
  while (fs::is_symlink(path, error)) {
    const auto target = fs::read_symlink(path, error);
    if (error) break;
    path = path.parent_path() / target;
  }
  return path;
}

}  // namespace

Result<OutputFile> OutputFile::open(const std::string& path) {
  OutputFile out;
  if (path == "-") {
    out.fd_ = STDOUT_FILENO;
    return out;
  }
  out.path_ = path;
  struct stat existing {};
  const bool is_there = stat(path.c_str(), &existing) == 0;
  if (!is_there && errno != ENOENT) return out.failed();
  if (is_there && !S_ISREG(existing.st_mode)) {
    out.fd_ = ::open(path.c_str(), O_WRONLY | O_CLOEXEC);
    if (out.fd_ < 0) return out.failed();
    return out;
  }
  if (auto made = out.replace_regular(is_there ? &existing : nullptr); !made)
    return forward_error(std::move(made));
  return out;
}

Status OutputFile::replace_regular(const struct stat* existing) {
  target_ = behind_links(path_).native();
  const auto name = target_ + ".part." + std::to_string(getpid());
  remove_at_end(name);
  fd_ = ::open(name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (fd_ < 0) return creation_error(path_);
  temporary_ = name;
  if (!existing) return {};
  // Who may not give files away keeps this one.
  if (fchown(fd_, existing->st_uid, existing->st_gid) != 0 && errno != EPERM) return failed();
  if (fchmod(fd_, existing->st_mode & 07777) != 0) return failed();
  return {};
}

OutputFile::OutputFile(OutputFile&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)),
      path_(std::move(other.path_)),
      target_(std::move(other.target_)),
      temporary_(std::exchange(other.temporary_, {})) {}

OutputFile::~OutputFile() {
  if (fd_ >= 0 && !path_.empty()) close(fd_);
  if (!temporary_.empty()) unlink(temporary_.c_str());
}

Status OutputFile::write(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const auto n = ::write(fd_, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return failed();
    bytes = bytes.subspan(static_cast<std::size_t>(n));
  }
  return {};
}

Status OutputFile::finish() {
  if (path_.empty()) return {};
  if (close(std::exchange(fd_, -1)) != 0) return failed();
  if (temporary_.empty()) return {};
  if (rename(temporary_.c_str(), target_.c_str()) != 0) return failed();
  temporary_.clear();
  return {};
}

tl::unexpected<Error> OutputFile::failed() const {
  return system_error(path_.empty() ? "standard output" : path_);
}

}  // namespace mempool::programs
