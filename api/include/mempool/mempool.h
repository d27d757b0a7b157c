// MemPool: a cluster cache of immutable blobs. This header is the whole interface.
//
//   auto pool = mempool::Pool::open({});                  // a pool inside this program
//   auto ref  = pool->poolset(bytes);                     // -> DRef, a small value to hand around
//   auto view = pool->poolget(*ref);                      // -> the bytes, in place
//
// A pool that stores comes from libmempool; libmempool-client has everything but Pool::open and
// may be loaded with dlopen.
//
// Thread safety: every call may be made from any thread, but for moving and destruction. Ownership:
// a Pool owns its threads, descriptors and files and releases them when it ends; Views, Buffers and
// PendingViews must end before it. A Pool that was moved from can only be assigned to or destroyed.
// Errors: every call returns a value; result.h says what each code asks for. Nothing throws but the
// system's lack of memory (std::bad_alloc). A pool used in a forked child answers Forked.
#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <mempool/buffer.h>
#include <mempool/info.h>
#include <mempool/options.h>
#include <mempool/pending.h>
#include <mempool/ref.h>
#include <mempool/result.h>
#include <mempool/view.h>

namespace mempool {

class PoolCore;

class Pool {
 public:
  /// A pool that stores blobs in this process; with `listen`, a node of a cluster (libmempool).
  static Result<Pool> open(const PoolOptions& options);

  /// A client of a cluster that knows one of its nodes, HOST:PORT, and connects to it at once:
  /// Unavailable, Timeout, WrongCluster, VersionMismatch. NoProvider: a path that was asked for.
  static Result<Pool> connect(const std::string& node, const ClusterOptions& options = {});

  Pool(Pool&&) noexcept;
  Pool& operator=(Pool&&) noexcept;
  ~Pool();

  /// Copies `bytes` into a new blob. The source may be reused on return. NoSpace: neither memory
  /// nor disk has room. After a Timeout nothing is left of it, if its node can still be told.
  Result<DRef> poolset(std::span<const std::byte> bytes, const SetOptions& options = {});

  /// Shows the bytes: in place if this process owns the blob or shares its owner's memory, in a
  /// mapped file, else in a buffer of the pool's (View::path() tells).
  Result<View> poolget(const DRef& ref, const GetOptions& options = {});

  /// Brings the bytes to a Buffer of this pool's that has room for them; else InvalidArgument.
  /// Afterwards `into` may be another Buffer of its size: bytes may still arrive in the one before
  /// when a read failed. After an error it may be an empty one. One get at a time into a Buffer.
  Status poolget(const DRef& ref, Buffer& into, const GetOptions& options = {});
  /// A Buffer of at least `bytes` bytes. Limit: the system has no memory for it.
  Result<Buffer> buffer(std::size_t bytes);

  /// Many at once: operations on any number of owners are in flight together, a bounded number at a
  /// time. The results stand in the order of the arguments.
  std::vector<Result<View>> poolget_all(std::span<const DRef> refs, const GetOptions& options = {});
  std::vector<Result<DRef>> poolset_all(std::span<const std::span<const std::byte>> blobs,
                                        const SetOptions& options = {});
  /// Starts a get; PendingView::wait() ends it.
  PendingView poolget_async(const DRef& ref, const GetOptions& options = {});

  /// Copies bytes [offset, offset + out.size()) of the blob to `out`; a range outside the blob is
  /// InvalidArgument. Use it to stream what is too large to hold.
  Status poolread(const DRef& ref, std::uint64_t offset, std::span<std::byte> out,
                  const GetOptions& options = {});

  /// Maps the file if this process sees it, else asks the node that wrote it. A file that is
  /// damaged or holds another blob is Corrupt.
  Result<View> poolget(const FileRef& ref, const GetOptions& options = {});

  /// The blob and its spill file are gone; a second delete is NotFound. Views go on showing it; the
  /// file of a blob that is retained or was adopted stays.
  Status pooldelete(const DRef& ref);

  /// Written to disk and released from memory (once no view holds it).
  Result<FileRef> movetodisk(const DRef& ref);
  /// Written to disk; the copy in memory stays.
  Result<FileRef> copytodisk(const DRef& ref);
  /// An independent, durable copy that this process writes at `path` (Exists unless `overwrite`).
  Result<FileRef> savetodisk(const DRef& ref, const std::filesystem::path& path,
                             const SaveOptions& options = {});
  /// Makes a blob of an existing blob file, without reading its payload: the first get does.
  /// The file stays the caller's. On a client the node must see the path.
  Result<DRef> adopt(const FileRef& file, const SetOptions& options = {});
  /// Loads a spilled blob into memory where peers can read it, unless a view shows it from its
  /// file: then it stays mapped. NoSpace, Timeout: no room can be made for it.
  Status prefetch(const DRef& ref);

  Result<BlobInfo> inspect(const DRef& ref);
  Result<std::vector<NodeInfo>> nodes();
  /// Counters of a node; 0: this pool's own, for a client those of the node it was given, or of
  /// another while that one cannot be reached.
  Result<Stats> stats(std::uint64_t node = 0);
  /// What this process itself read, by path: of use to clients.
  Stats local_stats() const;

  /// This node's HOST:PORT, id and open providers; empty and 0 where there is none.
  NodeInfo self() const;

 private:
  friend class PoolCore;
  explicit Pool(std::unique_ptr<PoolCore> core) noexcept;
  std::unique_ptr<PoolCore> core_;
};

}  // namespace mempool
