#include "spill/session.h"

#include <cerrno>
#include <chrono>
#include <system_error>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include "spill/error.h"
#include "spill/names.h"

namespace mempool::spill {
namespace {

namespace fs = std::filesystem;

// Making or removing a session takes a few system calls: a directory without a lock that is older
// is nobody's any more.
constexpr std::chrono::minutes kHalfMade{1};

// The root may go with another session's end just before it is used: so often in a row it does not.
constexpr int kAttempts = 1000;

bool try_lock(const Descriptor& file) noexcept {
  while (::flock(file.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EINTR) return false;
  }
  return true;
}

bool has_name(const Descriptor& file) noexcept {
  struct stat status {};
  return ::fstat(file.get(), &status) == 0 && status.st_nlink > 0;
}

std::vector<fs::path> session_directories(const fs::path& root) {
  std::vector<fs::path> found;
  std::error_code error;
  for (fs::directory_iterator at(root, error), end; !error && at != end; at.increment(error)) {
    std::error_code ignored;
    const bool directory = at->symlink_status(ignored).type() == fs::file_type::directory;
    if (directory && is_session_name(at->path().filename().native())) found.push_back(at->path());
  }
  return found;
}

bool is_old(const fs::path& directory) noexcept {
  std::error_code error;
  const auto changed = fs::last_write_time(directory, error);
  return !error && fs::file_time_type::clock::now() - changed > kHalfMade;
}

// Whether its process is dead; then the session is locked, if it has a lock.
bool claim(Session& session) {
  const auto path = session.path / kLockName;
  session.lock = open_file(path.c_str(), O_RDWR | O_NOFOLLOW | O_NONBLOCK);
  if (!session.lock) return errno == ENOENT && is_old(session.path);
  // Without a name: its own process has just removed the session.
  return try_lock(session.lock) && has_name(session.lock);
}

// All but the lock, which goes last. Without one, only what can be of a session that is half made:
// should its process be alive after all, then it does not get its lock, or it has it and loses
// nothing.
void remove_files(const Session& session) noexcept {
  std::error_code error;
  fs::directory_iterator at(session.path, error);
  for (const fs::directory_iterator end; !error && at != end; at.increment(error)) {
    const std::string name = at->path().filename().native();
    const bool ours = session.lock ? is_session_file(name) : is_temporary_name(name);
    if (!ours || name == kLockName) continue;
    ::unlink(at->path().c_str());  // fails on a directory, which is not ours
  }
}

// True: it was not there before.
Result<bool> make_root(const fs::path& root) {
  std::error_code error;
  if (root.has_parent_path()) fs::create_directories(root.parent_path(), error);
  if (error == std::errc::not_a_directory || error == std::errc::file_exists) {
    return path_failure(Code::kInvalidArgument, root, "a part of this path is not a directory");
  }
  if (error) return creation_failure(error.value(), "make the directory of", root);
  if (::mkdir(root.c_str(), kDirectoryMode) == 0) return true;
  const int reason = errno;
  if (fs::is_directory(root, error)) return false;
  if (reason == EEXIST) {
    return path_failure(Code::kInvalidArgument, root, "the spill directory is not a directory");
  }
  return creation_failure(reason, "make the spill directory", root);
}

// 0 or errno. The lock file has another name until it is locked.
int make_and_lock(Session& session) {
  if (::mkdir(session.path.c_str(), kDirectoryMode) != 0) return errno;
  const auto unnamed = session.path / temporary_name();
  const auto named = session.path / kLockName;
  session.lock = open_file(unnamed.c_str(), O_RDWR | O_CREAT | O_EXCL, kFileMode);
  const bool locked = session.lock && try_lock(session.lock);
  if (locked && ::rename(unnamed.c_str(), named.c_str()) == 0) return 0;
  const int reason = errno;
  remove_session(session);
  return reason;
}

}  // namespace

std::uint64_t sweep_dead_sessions(const fs::path& root) {
  std::uint64_t removed = 0;
  for (auto& path : session_directories(root)) {
    Session session{.path = std::move(path)};
    if (claim(session)) removed += remove_session(session) ? 1 : 0;
  }
  return removed;
}

Result<Session> make_session(const fs::path& root, const std::string& name) {
  Session session{.path = root / name};
  for (int attempt = 0;; ++attempt) {
    const auto made = make_root(root);
    if (!made) return tl::unexpected<Error>(made.error());
    session.made_root |= *made;
    const int reason = make_and_lock(session);
    if (reason == 0) return session;
    if (reason == ENOENT && attempt < kAttempts) continue;
    auto failure = creation_failure(reason, "make the session directory", session.path);
    if (session.made_root) ::rmdir(root.c_str());
    return failure;
  }
}

bool remove_session(const Session& session) noexcept {
  remove_files(session);
  if (session.lock) ::unlink((session.path / kLockName).c_str());
  return ::rmdir(session.path.c_str()) == 0;
}

}  // namespace mempool::spill
