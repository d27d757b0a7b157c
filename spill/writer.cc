#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <optional>
#include <string>

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "spill/checksum.h"
#include "spill/descriptor.h"
#include "spill/error.h"
#include "spill/file_state.h"
#include "spill/header.h"
#include "spill/names.h"
#include "spill/quota.h"

namespace mempool::spill {
namespace {

namespace fs = std::filesystem;

// Random names collide only if somebody wants them to.
constexpr int kNameAttempts = 16;

// Files from this size on, in bytes, get their space at once: that finds a full disk early and
// makes writes faster. For smaller ones the call costs more than it saves.
constexpr std::uint64_t kAllocateFrom = 64 * 1024;

// A write beyond RLIMIT_FSIZE would raise SIGXFSZ, which ends the process.
Status check_size_limit(const fs::path& path, std::uint64_t bytes) {
  struct rlimit limit {};
  if (::getrlimit(RLIMIT_FSIZE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return {};
  if (bytes <= limit.rlim_cur) return {};
  return path_failure(Code::kNoSpace, path,
                      std::to_string(bytes) + " bytes are more than the process's limit of " +
                          std::to_string(limit.rlim_cur) + " for one file (ulimit -f)");
}

// Refuses early; the rename at the end refuses for sure.
Status check_target(const fs::path& path, bool overwrite) {
  std::error_code error;
  const auto type = fs::symlink_status(path, error).type();
  if (type == fs::file_type::none) return system_failure(error.value(), "create", path);
  if (type == fs::file_type::directory) {
    return path_failure(Code::kInvalidArgument, path, "is a directory");
  }
  if (type == fs::file_type::not_found || overwrite) return {};
  return path_failure(Code::kExists, path, "the file exists");
}

// Moves `from` to `to` unless there is something; 0 or errno.
int rename_without_overwriting(const fs::path& from, const fs::path& to) noexcept {
  if (::renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), RENAME_NOREPLACE) == 0) return 0;
  if (errno != EINVAL && errno != ENOSYS) return errno;
  // Some network file systems cannot do that, but a second name refuses to overwrite as well.
  if (::link(from.c_str(), to.c_str()) != 0) return errno;
  ::unlink(from.c_str());
  return 0;
}

int move_into_place(const fs::path& from, const fs::path& to, bool overwrite) noexcept {
  if (!overwrite) return rename_without_overwriting(from, to);
  return ::rename(from.c_str(), to.c_str()) == 0 ? 0 : errno;
}

Status sync_directory(const fs::path& directory) {
  const auto file = open_file(directory.c_str(), O_RDONLY | O_DIRECTORY);
  if (!file) return system_failure(errno, "open the directory", directory);
  // Some file systems cannot sync a directory, and say EINVAL.
  if (::fsync(file.get()) != 0 && errno != EINVAL) {
    return system_failure(errno, "make durable the directory", directory);
  }
  return {};
}

}  // namespace

struct Writer::State {
  State(fs::path target, const BlobMeta& blob, bool replace, Reservation reserved)
      : path(std::move(target)), meta(blob), overwrite(replace), reservation(std::move(reserved)) {}
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  ~State() {
    if (!temporary.empty()) ::unlink(temporary.c_str());
  }

  Status create_temporary(const fs::path& directory);
  Status allocate();
  Status write(std::span<const std::byte> bytes);
  Status write_header(bool durable);
  Status put_in_place();
  tl::unexpected<Error> remember(tl::unexpected<Error> failure);

  fs::path path;
  fs::path temporary;  // empty once it has its name
  BlobMeta meta;
  bool overwrite;
  Reservation reservation;
  Descriptor file;
  Checksum sum;
  std::uint64_t written = 0;  // payload bytes
  std::uint64_t header_checksum = 0;
  Stamp stamp;                   // of the finished file
  std::optional<Error> failure;  // the first one; every later call returns it
};

tl::unexpected<Error> Writer::State::remember(tl::unexpected<Error> error) {
  failure = error.value();
  return error;
}

Status Writer::State::create_temporary(const fs::path& directory) {
  for (int attempt = 0; attempt < kNameAttempts && !file; ++attempt) {
    auto name = directory / temporary_name();
    file = open_file(name.c_str(), O_WRONLY | O_CREAT | O_EXCL, kFileMode);
    if (file) temporary = std::move(name);
    if (!file && errno != EEXIST) break;
  }
  if (!file) return creation_failure(errno, "create a file for", path);
  return {};
}

Status Writer::State::allocate() {
  const std::uint64_t bytes = kHeaderBytes + meta.length;
  if (bytes < kAllocateFrom) return {};
  int error = 0;
  do {
    error = ::fallocate(file.get(), 0, 0, static_cast<off_t>(bytes)) == 0 ? 0 : errno;
  } while (error == EINTR);
  // A file system that cannot allocate ahead says so when the bytes are written.
  if (error != ENOSPC && error != EDQUOT && error != EFBIG) return {};
  return system_failure(error, "allocate " + std::to_string(bytes) + " bytes for", path);
}

Status Writer::State::write(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const auto chunk = bytes.first(std::min(bytes.size(), Checksum::kChunk));
    sum.update(chunk);
    if (!write_fully(file.get(), kHeaderBytes + written, chunk)) {
      return remember(system_failure(errno, "write", path));
    }
    written += chunk.size();
    bytes = bytes.subspan(chunk.size());
  }
  return {};
}

Status Writer::State::write_header(bool durable) {
  const auto header = encode_header(meta, sum.value());
  if (!header) return tl::unexpected<Error>(header.error());
  header_checksum = header->header_checksum;
  if (!write_fully(file.get(), 0, header->page)) return system_failure(errno, "write", path);
  if (durable && ::fsync(file.get()) != 0) return system_failure(errno, "make durable", path);
  return {};
}

Status Writer::State::put_in_place() {
  struct stat before {};
  if (::fstat(file.get(), &before) != 0) return system_failure(errno, "examine", temporary);
  if (!file.close()) return system_failure(errno, "write", path);
  if (const int error = move_into_place(temporary, path, overwrite); error != 0) {
    return system_failure(error, "rename the finished file to", path);
  }
  temporary.clear();
  // A rename changes the stamp. Should somebody have replaced the file at once, then no stamp is
  // known and the first map() checks what is there.
  struct stat after {};
  const bool same = ::lstat(path.c_str(), &after) == 0 && after.st_ino == before.st_ino &&
                    after.st_dev == before.st_dev && after.st_size == before.st_size &&
                    stamp_of(after).modified_ns == stamp_of(before).modified_ns;
  if (same) stamp = stamp_of(after);
  return {};
}

Writer::Writer(std::unique_ptr<State> state) noexcept : state_(std::move(state)) {}
Writer::Writer(Writer&&) noexcept = default;
Writer& Writer::operator=(Writer&&) noexcept = default;
Writer::~Writer() = default;

Result<Writer> Writer::start(const fs::path& path, const fs::path& temporary_directory,
                             const BlobMeta& meta, bool overwrite, Reservation reservation) {
  if (auto valid = check_meta(meta, path); !valid) return forward_error(std::move(valid));
  if (auto fits = check_size_limit(path, kHeaderBytes + meta.length); !fits) {
    return forward_error(std::move(fits));
  }
  if (auto free = check_target(path, overwrite); !free) return forward_error(std::move(free));
  auto state = std::make_unique<State>(path, meta, overwrite, std::move(reservation));
  if (auto made = state->create_temporary(temporary_directory); !made) {
    return forward_error(std::move(made));
  }
  if (auto allocated = state->allocate(); !allocated) return forward_error(std::move(allocated));
  return Writer(std::move(state));
}

Result<Writer> Writer::create(const fs::path& path, const BlobMeta& meta, bool overwrite) {
  if (!path.has_filename() || path.filename() == "." || path.filename() == "..") {
    return path_failure(Code::kInvalidArgument, path, "does not name a file");
  }
  std::error_code error;
  const auto target = fs::absolute(path, error);
  if (error) return system_failure(error.value(), "create", path);
  return start(target, target.parent_path(), meta, overwrite, {});
}

Status Writer::append(std::span<const std::byte> bytes) {
  if (!state_) return fail(Code::kInvalidArgument, "the file is finished already");
  if (state_->failure) return tl::unexpected<Error>(*state_->failure);
  if (bytes.size() > state_->meta.length - state_->written) {
    return path_failure(Code::kInvalidArgument, state_->path,
                        "more than the " + std::to_string(state_->meta.length) +
                            " payload bytes that were announced");
  }
  return state_->write(bytes);
}

Result<File> Writer::finish(bool durable) {
  if (!state_) return fail(Code::kInvalidArgument, "the file is finished already");
  if (state_->failure) return tl::unexpected<Error>(*state_->failure);
  auto& state = *state_;
  if (state.written != state.meta.length) {
    return path_failure(Code::kInvalidArgument, state.path,
                        "only " + std::to_string(state.written) + " of " +
                            std::to_string(state.meta.length) + " payload bytes were written");
  }
  auto shared = std::make_shared<File::State>();
  auto done = state.write_header(durable);
  if (done) done = state.put_in_place();
  if (!done) return state.remember(forward_error(std::move(done)));
  if (durable) {
    if (auto synced = sync_directory(state.path.parent_path()); !synced) {
      // A failed call leaves no file, unless the old one is gone already: then the new one, which
      // is complete, is better than none.
      if (!state.overwrite) ::unlink(state.path.c_str());
      return state.remember(forward_error(std::move(synced)));
    }
  }
  shared->header_checksum = state.header_checksum;
  shared->verified = state.stamp;
  shared->quota = state.reservation.keep();
  File file;
  file.ref_ = {.path = state.path.native(),
               .offset = kHeaderBytes,
               .length = state.meta.length,
               .id = state.meta.id};
  file.type_name_ = std::move(state.meta.type_name);
  file.state_ = std::move(shared);
  state_.reset();
  return file;
}

}  // namespace mempool::spill
