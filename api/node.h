// Node: the blobs of this process - the store over its spill directory, under one identity.
//
// Thread safety: every call from any thread, but destruction.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <vector>

#include <mempool/options.h>

#include "api/path_counters.h"
#include "api/verbs.h"
#include "spill/spill.h"
#include "store/store.h"

namespace mempool {

class Node final : public Verbs {
 public:
  /// `life` is the identity of its blobs (object 0). `pins`: what peers look at in place; null: no
  /// peer ever knows a location.
  static Result<std::unique_ptr<Node>> open(const PoolOptions& options, const BlobId& life,
                                            std::shared_ptr<const store::RemotePins> pins);

  const BlobId& life() const noexcept { return life_; }
  const std::vector<store::Region>& regions() const { return store_->regions(); }
  /// The pool's, once there is one; the node counts its gets there.
  void count_in(PathCounters& counters);

  // Verbs; the pool and the server have checked the references' identity.
  Result<DRef> set(std::span<const std::byte> bytes, const SetOptions& options) override;
  Result<View> get(const DRef& ref, const GetOptions& options) override;
  Status read(const DRef& ref, std::uint64_t offset, std::span<std::byte> out,
              const GetOptions& options) override;
  Status fill(const DRef& ref, Buffer& into, const GetOptions& options) override;
  std::unique_ptr<PendingView::Work> start_get(const DRef& ref, const GetOptions& options) override;
  std::vector<Result<DRef>> set_all(std::span<const std::span<const std::byte>> blobs,
                                    const SetOptions& options) override;
  Status remove(const DRef& ref) override;
  Result<FileRef> to_disk(const DRef& ref, bool release) override;
  Status prefetch(const DRef& ref) override;
  Result<DRef> adopt(const FileRef& file, const SetOptions& options) override;
  Result<View> get_file(const FileRef& file, const GetOptions& options) override;
  Result<BlobInfo> inspect(const DRef& ref) override;
  Result<Stats> stats(std::uint64_t node) override;

  // What only the server needs.
  Result<store::Store::Draft> begin(std::uint64_t length, const SetOptions& options,
                                    std::uint32_t timeout_ms);
  DRef ref_of(const store::Placed& placed, std::uint64_t length) const;
  /// A fresh reference; without a hint when only a file holds the blob.
  struct Located {
    DRef ref;
    std::optional<spill::File> file;
    std::uint32_t reads_from_file = 0;
  };
  Result<Located> locate(std::uint64_t object, bool touch);
  /// The bytes if they are in the arena: at once.
  std::optional<View> get_in_arena(std::uint64_t object, bool touch);
  /// A part of a spilled blob's bytes, for a peer that can neither read them itself nor map the
  /// file. Nothing is evicted for it.
  Result<View> read_from_file(std::uint64_t object, std::uint64_t offset, std::uint64_t bytes);
  /// The same of a file of this node's, of this life or an earlier one.
  Result<View> read_from_file(const FileRef& file, std::uint64_t offset, std::uint64_t bytes);
  /// The file that one of these would have to check first.
  std::optional<FileRef> file_to_check(std::uint64_t object) const;
  std::optional<FileRef> file_to_check(const FileRef& file) const;
  /// Before the end: whoever waits for room ends with Closed.
  void stop_waiting() { store_->stop_waiting(); }
  /// A peer has read it one-sidedly.
  void touch(std::uint64_t object) noexcept { store_->touch(object); }

 private:
  Node(const PoolOptions& options, const BlobId& life, std::unique_ptr<store::Store> store);
  std::shared_ptr<store::DiskFile> own_file(const FileRef& ref) const;
  static Status check(const SetOptions& options);
  store::BlobOptions blob_options(const SetOptions& options, std::uint32_t timeout_ms) const;

  const BlobId life_;
  const std::uint32_t timeout_ms_;
  const bool drop_on_evict_;
  std::unique_ptr<store::Store> store_;
  PathCounters* counters_ = nullptr;
};

}  // namespace mempool
