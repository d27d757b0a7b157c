// Store: the blobs of one node in memory, their order, their limits and their moves to disk.
//
// Life of a blob: in memory -> in memory and on disk (clean copy) -> on disk. One thread at a time
// moves a blob between states; others that need the same move wait for it and get its result. A
// move that fails leaves the earlier state as it was. No I/O happens under the table lock, so a get
// of a blob in memory never waits for another blob's disk.
//
// "In memory" is either in the arena or mapped from the blob's file: a get of a spilled blob maps
// it (cost independent of length), counts its length against max_memsize and makes it most recent;
// dropping it again needs no write. Only arena blobs can be read one-sidedly; load() brings a blob
// there.
//
// Thread safety: every call from any thread, but destruction.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <mempool/info.h>
#include <mempool/options.h>
#include <mempool/result.h>
#include <mempool/view.h>

#include "store/disk.h"
#include "store/region.h"
#include "store/remote_pins.h"

namespace mempool::store {

struct StoreOptions {
  std::uint64_t max_memsize = 1ULL << 30;
  Policy policy = Policy::kLru;
  bool exposed = false;  // locations leave the process, so freed memory goes through quarantine
  std::uint32_t quarantine_ms = 1000;
  std::shared_ptr<const RemotePins> remote_pins;  // null: nobody else looks at memory in place
};

struct BlobOptions {
  std::string type_name;
  bool drop_on_evict = false;
  bool retain = false;
  std::uint32_t timeout_ms = 30'000;  // how long a set may wait for room
};

/// Where a blob is now. `hint.generation` is 0 when it is not in the arena; then `file` has it.
struct Location {
  std::uint64_t length = 0;
  LocationHint hint;
  std::shared_ptr<DiskFile> file;
  std::uint32_t reads_from_file = 0;  // locates with `touch` since it left the arena, this included
};

struct Placed {
  std::uint64_t object = 0;
  LocationHint hint;  // generation 0 when the blob went straight to disk
};

class Store {
 public:
  /// Makes the region (capacity = 1.5 x max_memsize + quarantine budget) and the arena over it.
  /// `disk` may be null: then nothing can be spilled and a set over the limit is NoSpace.
  static Result<std::unique_ptr<Store>> create(const StoreOptions& options,
                                               std::unique_ptr<Disk> disk);
  /// With views still alive the region is left mapped rather than pulled from under them.
  ~Store();

  const std::vector<Region>& regions() const noexcept;

  /// A blob being written: reserved, not yet visible. Dropped without commit(), it leaves nothing.
  class Draft {
   public:
    Draft(Draft&&) noexcept;
    Draft& operator=(Draft&&) noexcept;
    ~Draft();
    /// Appends in order; commit() needs exactly the length that begin() was told.
    Status append(std::span<const std::byte> bytes);
    Result<Placed> commit();

   private:
    friend class Store;
    Draft() = default;
    void discard() noexcept;
    // Fields are the implementation's; a Draft is a value without heap of its own on the memory
    // path.
    Store* store_ = nullptr;
    std::uint64_t object_ = 0;
    std::byte* memory_ = nullptr;  // header and payload in the arena; null: straight to disk
    std::uint64_t length_ = 0;
    std::uint64_t filled_ = 0;
    std::unique_ptr<DiskWriter> writer_;
  };

  /// Makes room (evicting exactly what is needed) or chooses the disk; refuses with NoSpace when
  /// neither holds `length` bytes, and then nothing has changed.
  Result<Draft> begin(std::uint64_t length, const BlobOptions& options);
  Result<Placed> set(std::span<const std::byte> bytes, const BlobOptions& options);
  /// A blob whose bytes are in `file`; not read until the first get. The file is the caller's and
  /// stays when the blob is deleted.
  Result<Placed> adopt(std::shared_ptr<DiskFile> file, const BlobOptions& options);

  /// Pins and shows the bytes; makes the blob most recent. Those of the arena are counted.
  Result<View> get(std::uint64_t object);
  PathStats gets_in_arena() const;
  /// The blob if it is in the arena: never does I/O.
  std::optional<View> get_in_arena(std::uint64_t object, bool touch);
  /// Pins and shows the bytes; changes neither the order nor what is in memory.
  Result<View> peek(std::uint64_t object);
  /// For a remote reader: with `touch`, makes the blob most recent if it is in memory.
  Result<Location> locate(std::uint64_t object, bool touch = true);
  /// The blob's file; null when it was never written.
  Result<std::shared_ptr<DiskFile>> file(std::uint64_t object);
  /// One-sided reads that a peer reports: makes the blob most recent, nothing else.
  void touch(std::uint64_t object) noexcept;

  Status remove(std::uint64_t object);
  /// Makes sure that the file is written; with `release`, also frees the memory (a pinned blob's as
  /// soon as it is unpinned or room is needed).
  Result<FileRef> write_to_disk(std::uint64_t object, bool release);
  /// Brings a spilled blob into the arena.
  Status load(std::uint64_t object);

  /// Before the end, once and for good: whoever waits for room ends with kClosed, and whoever would
  /// wait from here on.
  void stop_waiting();

  /// Fills all but `ref.id`'s cluster, node and incarnation, and `path`.
  Result<BlobInfo> inspect(std::uint64_t object);
  StoreStats stats() const;

  /// What making room for `bytes` more would evict, in order; empty also when it cannot be done.
  std::vector<std::uint64_t> plan_eviction(std::uint64_t bytes) const;
  /// Objects in memory, most recent first.
  std::vector<std::uint64_t> order() const;

  /// Bytes kept beside the payload for one blob in memory, header included, without the arena's
  /// size-class rounding.
  static std::size_t overhead_bytes() noexcept;

 private:
  struct State;
  explicit Store(std::unique_ptr<State> state) noexcept;
  Result<Draft> begin_slowly(Draft draft, const BlobOptions& options, bool reserved);
  Result<Draft> begin_on_disk(Draft draft, const BlobOptions& options, std::string_view why);
  std::unique_ptr<State> state_;
};

}  // namespace mempool::store
