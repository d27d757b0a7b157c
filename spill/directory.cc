#include <cerrno>
#include <mutex>
#include <optional>
#include <string>

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "spill/descriptor.h"
#include "spill/error.h"
#include "spill/file_state.h"
#include "spill/names.h"
#include "spill/quota.h"
#include "spill/session.h"

namespace mempool::spill {
namespace {

namespace fs = std::filesystem;

// With the rights that files are made with.
bool may_write(const fs::path& directory) noexcept {
  return ::faccessat(AT_FDCWD, directory.c_str(), W_OK | X_OK, AT_EACCESS) == 0;
}

// ROOT/retained; where users share ROOT and that is another's, ROOT/retained-<user>.
Result<fs::path> make_retained(const fs::path& root) {
  const auto common = root / kRetainedName;
  const auto own = fs::path(common) += '-' + std::to_string(::geteuid());
  for (const auto& path : {common, own}) {
    const int error = ::mkdir(path.c_str(), kDirectoryMode) == 0 ? 0 : errno;
    if (error == 0 || (error == EEXIST && may_write(path))) return path;
    if (error != EEXIST) {
      return creation_failure(error, "make the directory of retained files", path);
    }
  }
  return path_failure(Code::kPermissionDenied, own, "another user's, or not to be written to");
}

// The directory itself, or what of the way to it is there.
fs::path nearest(fs::path directory) {
  std::error_code error;
  while (!fs::exists(directory, error) && directory.has_relative_path()) {
    directory = directory.parent_path();
  }
  return directory;
}

}  // namespace

struct Directory::State {
  explicit State(const DirectoryOptions& given)
      : options(given), quota(std::make_shared<Quota>(given.quota_bytes)) {}

  Result<Reservation> reserve(std::uint64_t length) const;
  Status ensure_session();

  DirectoryOptions options;      // the root is absolute, ...
  std::optional<Error> no_root;  // ... unless the working directory was gone
  fs::path session_path;
  std::mutex mutex;  // making the session
  std::optional<Session> session;
  std::shared_ptr<Quota> quota;
  std::uint64_t swept = 0;
  pid_t process = ::getpid();  // a forked child must not remove its parent's files
};

Result<Reservation> Directory::State::reserve(std::uint64_t length) const {
  const std::uint64_t bytes = length + kHeaderBytes;
  if (bytes >= length && quota->reserve(bytes)) return Reservation(quota, bytes);
  return path_failure(Code::kNoSpace, options.root,
                      "the disk quota is " + std::to_string(quota->limit()) + " bytes, " +
                          std::to_string(quota->used()) + " are used and a blob of " +
                          std::to_string(length) + " bytes needs " + std::to_string(bytes));
}

// Tried again by every file until it works: whoever hears of it may mend it meanwhile.
Status Directory::State::ensure_session() {
  const std::lock_guard lock(mutex);
  if (session) return {};
  if (no_root) return tl::unexpected<Error>(*no_root);
  auto made = make_session(options.root, session_path.filename());
  if (!made) return forward_error(std::move(made));
  session = std::move(*made);
  return {};
}

Result<std::unique_ptr<Directory>> Directory::open(const DirectoryOptions& options) {
  if (options.root.empty()) return fail(Code::kInvalidArgument, "the spill directory has no name");
  auto state = std::make_unique<State>(options);
  auto& root = state->options.root;
  std::error_code error;
  root = fs::absolute(options.root, error);
  if (error) {
    root = options.root;
    state->no_root = system_failure(error.value(), "find the spill directory", root).value();
  }
  if (!root.has_filename()) root = root.parent_path();  // "dir/"
  state->session_path = root / session_name(state->process, options.incarnation);
  // A crashed session may be what fills the disk.
  state->swept = sweep_dead_sessions(root);
  return std::unique_ptr<Directory>(new Directory(std::move(state)));
}

Directory::Directory(std::unique_ptr<State> state) noexcept : state_(std::move(state)) {}

Directory::~Directory() {
  const auto& session = state_->session;
  if (!session || state_->process != ::getpid()) return;
  remove_session(*session);
  if (session->made_root) ::rmdir(state_->options.root.c_str());  // unless something is in it
}

Status Directory::usable() const {
  if (state_->no_root) return tl::unexpected<Error>(*state_->no_root);
  const auto& root = state_->options.root;
  const auto place = nearest(root);
  std::error_code error;
  if (!fs::is_directory(place, error)) {
    return path_failure(Code::kInvalidArgument, place, "is no directory");
  }
  if (may_write(place)) return {};
  return system_failure(errno, "write to", place);
}

const fs::path& Directory::session_path() const noexcept {
  return state_->session_path;
}

Result<Writer> Directory::create(std::uint64_t object, std::uint64_t length,
                                 const std::string& type_name, bool retain) {
  auto writer = start(object, length, type_name, retain);
  if (!writer && writer.error().code == Code::kNotFound) {
    // The blob exists, it is the directory that does not.
    return fail(Code::kIo, std::move(writer.error().message));
  }
  return writer;
}

Result<Writer> Directory::start(std::uint64_t object, std::uint64_t length,
                                const std::string& type_name, bool retain) {
  auto reservation = state_->reserve(length);
  if (!reservation) return forward_error(std::move(reservation));
  const auto& options = state_->options;
  const BlobMeta meta{.id = {.cluster = options.cluster,
                             .node = options.node,
                             .incarnation = options.incarnation,
                             .object = object},
                      .length = length,
                      .type_name = type_name};
  if (auto ready = state_->ensure_session(); !ready) return forward_error(std::move(ready));
  const auto& own = state_->session_path;
  auto path = own / blob_name(object);
  if (retain) {
    auto retained = make_retained(options.root);
    if (!retained) return forward_error(std::move(retained));
    path = *retained / retained_name(options.incarnation, object);
  }
  // Temporaries lie in the session directory also for retained files, so that they are swept.
  return Writer::start(path, own, meta, false, std::move(*reservation));
}

Status Directory::remove(const File& file) {
  auto& shared = *file.state_;
  if (shared.quota != state_->quota) {
    return path_failure(Code::kInvalidArgument, file.ref_.path,
                        "this spill directory did not make the file");
  }
  if (shared.removed.exchange(true)) return {};
  if (::unlink(file.ref_.path.c_str()) != 0 && errno != ENOENT) {
    const int error = errno;
    shared.removed = false;
    return system_failure(error, "delete", file.ref_.path);
  }
  state_->quota->release(file.file_bytes());
  return {};
}

std::uint64_t Directory::used_bytes() const noexcept {
  return state_->quota->used();
}

std::uint64_t Directory::room_bytes() const noexcept {
  const auto& quota = *state_->quota;
  if (quota.limit() != 0) return quota.limit() - quota.used();
  struct statvfs disk {};
  if (::statvfs(nearest(state_->options.root).c_str(), &disk) != 0) return 0;
  return std::uint64_t{disk.f_bavail} * disk.f_frsize;
}

std::uint64_t Directory::quota_bytes() const noexcept {
  return state_->quota->limit();
}

std::uint64_t Directory::swept() const noexcept {
  return state_->swept;
}

}  // namespace mempool::spill
