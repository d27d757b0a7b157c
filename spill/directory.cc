#include <cerrno>
#include <string>

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

Status make_retained(const fs::path& path) {
  if (::mkdir(path.c_str(), kDirectoryMode) == 0 || errno == EEXIST) return {};
  return system_failure(errno, "make the directory of retained files", path);
}

}  // namespace

struct Directory::State {
  explicit State(const DirectoryOptions& given)
      : options(given), quota(std::make_shared<Quota>(given.quota_bytes)) {}

  Result<Reservation> reserve(std::uint64_t length) const;

  DirectoryOptions options;  // the root is absolute
  fs::path retained;
  Session session;
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

Result<std::unique_ptr<Directory>> Directory::open(const DirectoryOptions& options) {
  if (options.root.empty()) return fail(Code::kInvalidArgument, "the spill directory has no name");
  auto state = std::make_unique<State>(options);
  auto& root = state->options.root;
  std::error_code error;
  root = fs::absolute(options.root, error);
  if (error) return system_failure(error.value(), "find the spill directory", options.root);
  if (!root.has_filename()) root = root.parent_path();  // "dir/"
  state->retained = root / kRetainedName;

  if (auto made = make_root(root); !made) return forward_error(std::move(made));
  // Sweeping comes first: a crashed session may be what fills the disk.
  const auto swept = sweep_dead_sessions(root);
  if (!swept) return tl::unexpected<Error>(swept.error());
  state->swept = *swept;
  auto session = make_session(root, session_name(state->process, options.incarnation));
  if (!session) return forward_error(std::move(session));
  state->session = std::move(*session);
  return std::unique_ptr<Directory>(new Directory(std::move(state)));
}

Directory::Directory(std::unique_ptr<State> state) noexcept : state_(std::move(state)) {}

Directory::~Directory() {
  if (state_->process != ::getpid()) return;
  remove_session(state_->session);
  remove_root_lock(state_->options.root);
}

const fs::path& Directory::session_path() const noexcept {
  return state_->session.path;
}

Result<Writer> Directory::create(std::uint64_t object, std::uint64_t length,
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
  if (retain) {
    if (auto made = make_retained(state_->retained); !made) return forward_error(std::move(made));
  }
  const auto path = retain ? state_->retained / retained_name(options.incarnation, object)
                           : state_->session.path / blob_name(object);
  // Temporaries lie in the session directory also for retained files, so that they are swept.
  auto writer = Writer::start(path, state_->session.path, meta, false, std::move(*reservation));
  if (!writer && writer.error().code == Code::kNotFound) {
    // The blob exists, the directory does not any more.
    return fail(Code::kIo, std::move(writer.error().message));
  }
  return writer;
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
  if (::statvfs(state_->session.path.c_str(), &disk) != 0) return 0;
  return std::uint64_t{disk.f_bavail} * disk.f_frsize;
}

std::uint64_t Directory::quota_bytes() const noexcept {
  return state_->quota->limit();
}

std::uint64_t Directory::swept() const noexcept {
  return state_->swept;
}

}  // namespace mempool::spill
