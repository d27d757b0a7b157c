// What the store needs of a disk, as an interface: the store never sees the spill layer.
// api/spill_disk.cc puts the two together.
//
// Thread safety: Disk from any thread; a DiskFile's reads from any thread. Every call but the
// accessors may do I/O, so the store never calls them under its table lock.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include <mempool/ref.h>
#include <mempool/result.h>

namespace mempool::store {

/// A read-only mapping of one file's payload; unmaps when it goes.
class DiskMapping {
 public:
  virtual ~DiskMapping() = default;
  virtual std::span<const std::byte> payload() const noexcept = 0;
};

/// One blob's file. Dropping the object leaves the file.
class DiskFile {
 public:
  virtual ~DiskFile() = default;
  virtual const FileRef& ref() const noexcept = 0;
  virtual std::uint64_t file_bytes() const noexcept = 0;  // payload and header

  /// Verifies the file and maps it. Cost does not depend on the length for files this life wrote.
  virtual Result<std::shared_ptr<const DiskMapping>> map() = 0;
  /// Verifies the file and reads all of its payload; `out` has exactly ref().length bytes.
  virtual Status read(std::span<std::byte> out) = 0;
  /// Deletes the file and gives its quota back. A file that is gone already is no error.
  virtual Status remove() = 0;
};

/// A file being written. Dropped without finish(), it leaves nothing behind.
class DiskWriter {
 public:
  virtual ~DiskWriter() = default;
  virtual Status append(std::span<const std::byte> bytes) = 0;
  virtual Result<std::shared_ptr<DiskFile>> finish() = 0;
};

class Disk {
 public:
  virtual ~Disk() = default;

  /// Starts the file of a blob of exactly `length` bytes; the first one may be what finds out that
  /// there is no place for any. NoSpace when quota or disk have no room.
  virtual Result<std::unique_ptr<DiskWriter>> create(std::uint64_t object, std::uint64_t length,
                                                     std::string_view type_name, bool retain) = 0;

  /// What is left of the quota, in file bytes; the file of a blob takes overhead_bytes() more than
  /// its payload.
  virtual std::uint64_t room_bytes() const noexcept = 0;
  virtual std::uint64_t overhead_bytes() const noexcept = 0;
  /// The system lets a process have so many mappings and no more, whatever their size. While this
  /// is false, one that is kept takes the place of another.
  virtual bool may_keep_mapping() const noexcept = 0;
  virtual std::uint64_t used_bytes() const noexcept = 0;
  virtual std::uint64_t quota_bytes() const noexcept = 0;  // 0: what the disk has
};

}  // namespace mempool::store
