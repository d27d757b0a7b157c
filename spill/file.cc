#include <algorithm>
#include <cerrno>
#include <memory>
#include <string>
#include <vector>

#include <fcntl.h>
#include <sys/mman.h>

#include "spill/checksum.h"
#include "spill/descriptor.h"
#include "spill/error.h"
#include "spill/file_state.h"
#include "spill/header.h"
#include "spill/mapped_files.h"

namespace mempool::spill {

/// A file whose header was verified during this call.
class File::Opened {
 public:
  static Result<Opened> open(const std::string& path);

  /// What the file system says of the file now.
  Result<Stamp> stamp_now(const std::string& path) const;
  tl::unexpected<Error> changed(const std::string& path, const char* meanwhile) const;
  /// Reads it all; into `whole`, if that has room for it.
  Status check_payload(const std::string& path, std::span<std::byte> whole) const;

  Descriptor file;
  Stamp stamp;  // from before the header was read
  Header header;
  bool brought = false;  // the check left the payload where the caller wants it
};

Result<File::Opened> File::Opened::open(const std::string& path) {
  Opened opened;
  // Without O_NONBLOCK a fifo in the file's place would block here for ever.
  opened.file = open_file(path.c_str(), O_RDONLY | O_NONBLOCK | O_NOCTTY);
  if (!opened.file) {
    const int error = errno;
    if (error == ENXIO) return path_failure(Code::kCorrupt, path, "not a regular file");
    return system_failure(error, "open the blob file", path);
  }
  struct stat status {};
  if (::fstat(opened.file.get(), &status) != 0) return system_failure(errno, "examine", path);
  if (!S_ISREG(status.st_mode)) return path_failure(Code::kCorrupt, path, "not a regular file");
  opened.stamp = stamp_of(status);
  alignas(std::uint64_t) HeaderPage page;
  const auto got = read_fully(opened.file.get(), 0, page);
  if (got < 0) return system_failure(errno, "read", path);
  if (static_cast<std::size_t>(got) < page.size()) {
    return path_failure(Code::kCorrupt, path,
                        "only " + std::to_string(got) + " bytes: too short for a blob file");
  }
  auto header = decode_header(page, opened.stamp.size, path);
  if (!header) return forward_error(std::move(header));
  opened.header = std::move(*header);
  return opened;
}

Result<Stamp> File::Opened::stamp_now(const std::string& path) const {
  struct stat status {};
  if (::fstat(file.get(), &status) != 0) return system_failure(errno, "examine", path);
  return stamp_of(status);
}

/// Another than when it was opened. Removing a file changes its stamp too, as does putting another
/// in its place.
tl::unexpected<Error> File::Opened::changed(const std::string& path, const char* meanwhile) const {
  struct stat status {};
  const bool removed = ::lstat(path.c_str(), &status) != 0 && errno == ENOENT;
  return path_failure(removed ? Code::kNotFound : Code::kCorrupt, path,
                      std::string(removed ? "the file was removed" : "the file changed") +
                          " while it was " + meanwhile);
}

Status File::Opened::check_payload(const std::string& path, std::span<std::byte> whole) const {
  ::posix_fadvise(file.get(), 0, 0, POSIX_FADV_SEQUENTIAL);
  // Read, not mapped: a file that is truncated meanwhile is an error here, not a SIGBUS.
  const std::uint64_t length = header.meta.length;
  std::vector<std::byte> chunk;
  if (whole.empty()) chunk.resize(std::min<std::uint64_t>(length, Checksum::kChunk));
  Checksum sum;
  for (std::uint64_t done = 0; done < length;) {
    const auto bytes = std::min<std::uint64_t>(Checksum::kChunk, length - done);
    const auto piece = whole.empty() ? std::span(chunk).first(bytes) : whole.subspan(done, bytes);
    const auto got = read_fully(file.get(), kHeaderBytes + done, piece);
    if (got < 0) return system_failure(errno, "read", path);
    if (static_cast<std::size_t>(got) < piece.size()) {
      return path_failure(Code::kCorrupt, path, "the file became shorter while it was read");
    }
    sum.update(piece);
    done += piece.size();
  }
  if (sum.value() == header.payload_checksum) return {};
  return path_failure(Code::kCorrupt, path, "the checksum of the payload does not match");
}

Result<File> File::open(const std::filesystem::path& path) {
  if (path.empty()) return fail(Code::kInvalidArgument, "the path of the blob file is empty");
  std::error_code error;
  const auto absolute = std::filesystem::absolute(path, error);
  if (error) return system_failure(error.value(), "open the blob file", path);
  auto opened = Opened::open(absolute.native());
  if (!opened) return forward_error(std::move(opened));
  const auto& meta = opened->header.meta;
  File file;
  file.ref_ = {
      .path = absolute.native(), .offset = kHeaderBytes, .length = meta.length, .id = meta.id};
  file.type_name_ = meta.type_name;
  file.state_ = State::of(opened->stamp, opened->header.header_checksum);
  return file;
}

Result<File> File::open(const FileRef& ref) {
  auto file = open(std::filesystem::path(ref.path));
  if (!file) return file;
  const auto& found = file->ref_;
  if (found.id != ref.id || found.length != ref.length || found.offset != ref.offset) {
    return path_failure(Code::kCorrupt, ref.path,
                        "the file holds another blob than the reference names");
  }
  return file;
}

Result<File> File::open(const FileRef& ref, const Stamp& verified) {
  auto file = open(ref);
  if (file) file->told_ = verified;
  return file;
}

Stamp File::verified() const {
  std::lock_guard lock(state_->mutex);
  return state_->verified;
}

bool File::needs_check() const {
  struct stat status {};
  // Whoever opens it finds out why that cannot be done.
  return ::stat(ref_.path.c_str(), &status) == 0 && !known_right(stamp_of(status));
}

/// `whole`: where the caller wants all of the payload, should it have to be read for the check.
Result<File::Opened> File::open_verified(std::span<std::byte> whole) const {
  auto opened = Opened::open(ref_.path);
  if (!opened) return opened;
  // The header's checksum covers the identity, the type and the payload's checksum.
  if (opened->header.header_checksum != state_->header_checksum) {
    return path_failure(Code::kCorrupt, ref_.path, "the file was replaced by another blob's");
  }
  if (known_right(opened->stamp)) return opened;
  std::lock_guard lock(state_->checking);
  if (known_right(opened->stamp)) return opened;
  if (auto checked = opened->check_payload(ref_.path, whole); !checked) {
    return forward_error(std::move(checked));
  }
  const auto after = opened->stamp_now(ref_.path);
  if (!after) return tl::unexpected<Error>(after.error());
  if (*after != opened->stamp) {
    return opened->changed(ref_.path, "checked");
  }
  opened->brought = !whole.empty();
  std::lock_guard known(state_->mutex);
  state_->verified = opened->stamp;
  return opened;
}

Result<Mapping> File::map() const {
  const auto opened = open_verified();
  if (!opened) return tl::unexpected<Error>(opened.error());
  if (!MappedFiles::take_one()) return copy(0);
  Mapping mapping;
  mapping.bytes_ = kHeaderBytes + ref_.length;
  void* const base = ::mmap(nullptr, mapping.bytes_, PROT_READ, MAP_SHARED, opened->file.get(), 0);
  if (base != MAP_FAILED) {
    mapping.base_ = base;
    mapping.payload_ = {static_cast<const std::byte*>(base) + kHeaderBytes, ref_.length};
    return mapping;
  }
  const int error = errno;
  MappedFiles::give_back_one();
  if (error == ENOMEM) return copy(error);
  return system_failure(error, "map", ref_.path);
}

/// A small payload, as long as there are not too many of them.
/// `error`: the system's, when it was that which did not map the file; 0: the bound on mapped
/// files.
Result<Mapping> File::copy(int error) const {
  Mapping mapping;
  auto* const bytes = MappedFiles::take_copy(ref_.length);
  if (bytes == nullptr) {
    if (error == 0) return MappedFiles::too_many(ref_);
    return fail(Code::kLimit, "cannot map '" + ref_.path + "': " + reason_of(error) +
                                  ", or as many mappings as vm.max_map_count allows are there");
  }
  mapping.payload_ = {bytes, ref_.length};
  if (auto copied = read(0, {bytes, ref_.length}); !copied) return forward_error(std::move(copied));
  return mapping;
}

Status File::read(std::uint64_t offset, std::span<std::byte> out) const {
  if (offset > ref_.length || out.size() > ref_.length - offset) {
    return path_failure(Code::kInvalidArgument, ref_.path,
                        "bytes " + std::to_string(offset) + " to " +
                            std::to_string(offset + out.size()) + " are not inside a blob of " +
                            std::to_string(ref_.length));
  }
  const bool all = out.size() == ref_.length;
  const auto opened = open_verified(all ? out : std::span<std::byte>());
  if (!opened) return tl::unexpected<Error>(opened.error());
  if (opened->brought) return {};
  const auto got = read_fully(opened->file.get(), kHeaderBytes + offset, out);
  if (got < 0) return system_failure(errno, "read", ref_.path);
  const auto after = opened->stamp_now(ref_.path);
  if (!after) return tl::unexpected<Error>(after.error());
  // The bytes read are those that were verified only if nobody wrote meanwhile.
  if (static_cast<std::size_t>(got) == out.size() && *after == opened->stamp) return {};
  return opened->changed(ref_.path, "read");
}

Mapping::Mapping(Mapping&& other) noexcept
    : base_(std::exchange(other.base_, nullptr)),
      bytes_(std::exchange(other.bytes_, 0)),
      payload_(std::exchange(other.payload_, {})) {}

Mapping& Mapping::operator=(Mapping&& other) noexcept {
  std::swap(base_, other.base_);
  std::swap(bytes_, other.bytes_);
  std::swap(payload_, other.payload_);
  return *this;
}

Mapping::~Mapping() {
  if (base_ != nullptr) {
    ::munmap(base_, bytes_);
    MappedFiles::give_back_one();
  } else if (payload_.data() != nullptr) {
    MappedFiles::give_back_copy(payload_);
  }
}

}  // namespace mempool::spill
