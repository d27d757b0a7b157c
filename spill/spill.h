// Blob files: one blob, one file, that maps back directly. docs/spill-format.md has the format.
//
// Directory owns a node's session directory and quota; Writer writes a file atomically (payload
// first, header last, then rename); File is a written file; Mapping shows its payload.
//
// What a process has verified of a file it remembers, however often the file is opened: one State
// for each (known_files.cc). What it maps, it counts (mapped_files.h).
//
// Thread safety: Directory from any thread; a Writer from one at a time; File's reads and Mappings
// from any. Descriptors are held only by a Writer and during a call.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>

#include <mempool/ref.h>
#include <mempool/result.h>

namespace mempool::spill {

/// Payloads start here: the header is one page.
inline constexpr std::uint64_t kHeaderBytes = 4096;

struct BlobMeta {
  BlobId id;
  std::uint64_t length = 0;  // payload bytes
  std::string type_name;
};

/// What the file system says of a file. While it is the same, nobody changed the file.
struct Stamp {
  std::uint64_t device = 0;
  std::uint64_t inode = 0;
  std::uint64_t size = 0;
  std::int64_t modified_ns = 0;
  std::int64_t changed_ns = 0;
  friend bool operator==(const Stamp&, const Stamp&) = default;
};

/// The payload of a verified file, to be read: the file mapped, or a copy where the process has as
/// many mappings as it may. Move-only. A file that somebody truncates while it is mapped raises
/// SIGBUS on access.
class Mapping {
 public:
  Mapping(Mapping&& other) noexcept;
  Mapping& operator=(Mapping&& other) noexcept;
  ~Mapping();
  std::span<const std::byte> payload() const noexcept { return payload_; }

 private:
  friend class File;
  Mapping() = default;
  void* base_ = nullptr;   // of the file; null for a copy
  std::size_t bytes_ = 0;  // mapped
  std::span<const std::byte> payload_;
};

/// A blob file. Copyable; dropping it leaves the file.
class File {
 public:
  /// Opens a file that this life of the node did not write. The header is verified; the payload's
  /// checksum is verified by the first map() or read() of any File of it in this process, again
  /// whenever the file changed.
  /// Corrupt: damaged, truncated, or no blob file. VersionMismatch, NotFound, PermissionDenied, Io.
  static Result<File> open(const std::filesystem::path& path);
  /// open(), and Corrupt unless length, payload offset and identity are those of `ref`.
  static Result<File> open(const FileRef& ref);
  /// The same for a reader whom the file's writer told that the payload is as it wrote it while the
  /// file has this stamp: then its checksum is not verified again.
  static Result<File> open(const FileRef& ref, const Stamp& verified);

  const FileRef& ref() const noexcept { return ref_; }
  const std::string& type_name() const noexcept { return type_name_; }
  std::uint64_t file_bytes() const noexcept { return kHeaderBytes + ref_.length; }
  /// With this stamp this process found the payload right; inode 0: not yet. What others said does
  /// not count.
  Stamp verified() const;
  /// Whether the next map() or read() reads all of the payload first, which may take long.
  bool needs_check() const;

  /// Every call verifies the header against the file's size and this File's identity. Limit: the
  /// process has no mapping left for it.
  Result<Mapping> map() const;
  /// Reads payload bytes [offset, offset + out.size()). All of them are checked on the way.
  Status read(std::uint64_t offset, std::span<std::byte> out) const;

 private:
  friend class Directory;
  friend class Writer;
  struct State;  // shared by copies
  class Opened;
  File() = default;
  Result<Opened> open_verified(std::span<std::byte> whole = {}) const;
  Result<Mapping> copy(int error) const;
  bool known_right(const Stamp& stamp) const { return stamp == told_ || stamp == verified(); }

  FileRef ref_;
  std::string type_name_;
  std::shared_ptr<State> state_;
  Stamp told_;  // by the file's owner, who verified it; counts for this File alone
};

class Reservation;

/// A file being written under a temporary name beside its place. Dropped without finish(), it
/// leaves no file and gives its quota back.
class Writer {
 public:
  /// An independent file at `path`. Exists unless `overwrite`; the old file stays until finish().
  static Result<Writer> create(const std::filesystem::path& path, const BlobMeta& meta,
                               bool overwrite);
  Writer(Writer&&) noexcept;
  Writer& operator=(Writer&&) noexcept;
  ~Writer();

  /// Written straight from `bytes`, in order, no copy kept; more than meta.length is
  /// InvalidArgument. NoSpace, Io.
  Status append(std::span<const std::byte> bytes);
  /// Writes the header and renames. With `durable`, file and directory are fsynced.
  Result<File> finish(bool durable);

 private:
  friend class Directory;
  struct State;
  explicit Writer(std::unique_ptr<State> state) noexcept;
  static Result<Writer> start(const std::filesystem::path& path,
                              const std::filesystem::path& temporary_directory,
                              const BlobMeta& meta, bool overwrite, Reservation reservation);
  std::unique_ptr<State> state_;
};

struct DirectoryOptions {
  std::filesystem::path root = ".mempool";
  std::uint64_t cluster = 0;
  std::uint64_t node = 0;
  std::uint64_t incarnation = 0;
  std::uint64_t quota_bytes = 0;  // of file bytes; 0: what the disk has
};

/// One node's place for spill files: ROOT/<pid and incarnation>/ for its own, removed when it goes,
/// and ROOT/retained/ for files that outlive it. Nothing is made before the first create(). Session
/// directories of dead processes are removed by open(); those of living ones (they hold a lock) are
/// left alone. A ROOT that was not there goes at the end as well, unless something is in it.
/// Directories 0700, files 0600.
class Directory {
 public:
  static Result<std::unique_ptr<Directory>> open(const DirectoryOptions& options);
  ~Directory();
  Directory(const Directory&) = delete;
  Directory& operator=(const Directory&) = delete;

  /// Whether create() would find a place, as far as rights tell; makes nothing.
  Status usable() const;

  /// Where its own files go, from the first on.
  const std::filesystem::path& session_path() const noexcept;

  /// The file of blob `object`. Takes kHeaderBytes + length of the quota or says NoSpace.
  Result<Writer> create(std::uint64_t object, std::uint64_t length, const std::string& type_name,
                        bool retain);
  /// Deletes a file made by create() and gives its quota back. A missing file is no error.
  Status remove(const File& file);

  std::uint64_t used_bytes() const noexcept;
  /// What is left of the quota; without one, what the file system has free now.
  std::uint64_t room_bytes() const noexcept;
  std::uint64_t quota_bytes() const noexcept;
  /// Directories of dead sessions that open() removed.
  std::uint64_t swept() const noexcept;

 private:
  struct State;
  explicit Directory(std::unique_ptr<State> state) noexcept;
  Result<Writer> start(std::uint64_t object, std::uint64_t length, const std::string& type_name,
                       bool retain);
  std::unique_ptr<State> state_;
};

}  // namespace mempool::spill
