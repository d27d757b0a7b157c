#include "spill/session.h"

#include <cerrno>
#include <chrono>
#include <system_error>
#include <thread>
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

// The root's lock is held for a few system calls; a process that is stopped meanwhile must not stop
// every other one from starting without a word.
constexpr std::chrono::seconds kLockPatience{10};
constexpr std::chrono::milliseconds kLockPause{2};

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

Result<Descriptor> lock_root(const fs::path& root) {
  const auto path = root / kLockName;
  const auto deadline = std::chrono::steady_clock::now() + kLockPatience;
  Descriptor file;
  do {
    file = open_file(path.c_str(), O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK, kFileMode);
    if (!file) return system_failure(errno, "open the lock of the spill directory", path);
    while (!try_lock(file)) {
      if (errno != EWOULDBLOCK) return system_failure(errno, "lock", path);
      if (std::chrono::steady_clock::now() > deadline) {
        return path_failure(Code::kTimeout, path, "another process holds this lock");
      }
      std::this_thread::sleep_for(kLockPause);
    }
  } while (!has_name(file));  // remove_root_lock() was first: the next one makes a new file
  return file;
}

bool holds_only_the_lock(const fs::path& root) {
  std::error_code error;
  for (fs::directory_iterator at(root, error), end; !error && at != end; at.increment(error)) {
    if (at->path().filename() != kLockName) return false;
  }
  return !error;
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

// Locks the session if its process is dead. Needs the root's lock.
bool claim(Session& session) {
  const auto path = session.path / kLockName;
  session.lock = open_file(path.c_str(), O_RDWR | O_NOFOLLOW | O_NONBLOCK);
  if (!session.lock) {
    // Its process died right after it made the directory, or right before it removed it; files of
    // the session are only there together with its lock.
    return errno == ENOENT;
  }
  // Without a name: its own process has just removed the session.
  return try_lock(session.lock) && has_name(session.lock);
}

void remove_files(const fs::path& directory) noexcept {
  std::error_code error;
  for (fs::directory_iterator at(directory, error), end; !error && at != end; at.increment(error)) {
    const std::string name = at->path().filename().native();
    if (name == kLockName || !is_session_file(name)) continue;
    ::unlink(at->path().c_str());  // fails on a directory, which is not ours
  }
}

}  // namespace

Status make_root(const fs::path& root) {
  std::error_code error;
  if (root.has_parent_path()) fs::create_directories(root.parent_path(), error);
  if (error == std::errc::not_a_directory || error == std::errc::file_exists) {
    return path_failure(Code::kInvalidArgument, root, "a part of this path is not a directory");
  }
  if (error) return system_failure(error.value(), "make the directory of", root);
  if (::mkdir(root.c_str(), kDirectoryMode) == 0) return {};
  const int reason = errno;
  if (fs::is_directory(root, error)) return {};
  if (reason == EEXIST) {
    return path_failure(Code::kInvalidArgument, root, "the spill directory is not a directory");
  }
  return system_failure(reason, "make the spill directory", root);
}

Result<std::uint64_t> sweep_dead_sessions(const fs::path& root) {
  std::vector<Session> dead;
  {
    const auto lock = lock_root(root);
    if (!lock) return tl::unexpected<Error>(lock.error());
    for (auto& path : session_directories(root)) {
      Session session{.path = std::move(path), .lock = {}};
      if (claim(session)) dead.push_back(std::move(session));
    }
  }
  // Files can be many and large: their removal keeps nobody waiting.
  std::uint64_t removed = 0;
  for (const auto& session : dead) removed += remove_session(session) ? 1 : 0;
  return removed;
}

Result<Session> make_session(const fs::path& root, const std::string& name) {
  const auto root_lock = lock_root(root);
  if (!root_lock) return tl::unexpected<Error>(root_lock.error());
  Session session{.path = root / name, .lock = {}};
  if (::mkdir(session.path.c_str(), kDirectoryMode) != 0) {
    return system_failure(errno, "make the session directory", session.path);
  }
  const auto path = session.path / kLockName;
  session.lock = open_file(path.c_str(), O_RDWR | O_CREAT | O_EXCL, kFileMode);
  const int reason = session.lock && try_lock(session.lock) ? 0 : errno;
  if (reason == 0) return session;
  remove_session(session);
  return system_failure(reason, "lock", path);
}

bool remove_session(const Session& session) noexcept {
  if (session.lock) {
    remove_files(session.path);
    ::unlink((session.path / kLockName).c_str());
  }
  return ::rmdir(session.path.c_str()) == 0;
}

void remove_root_lock(const fs::path& root) noexcept {
  const auto lock = lock_root(root);
  if (lock && holds_only_the_lock(root)) ::unlink((root / kLockName).c_str());
}

}  // namespace mempool::spill
