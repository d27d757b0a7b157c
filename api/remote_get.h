// RemoteGet: one get of a blob that another node owns, from the reference to the bytes.
//
// Tried in this order: the owner's memory (shared, or by a one-sided read) where the hint leads;
// there again where the owner says that the blob is now; the blob's file, mapped; what the owner
// sends. Every step but the last is refused by whoever allows only some paths.
//
// Thread safety: one thread at a time.
#pragma once

#include <optional>
#include <span>

#include <mempool/options.h>
#include <mempool/ref.h>
#include <mempool/result.h>
#include <mempool/view.h>

#include "api/cluster.h"
#include "spill/spill.h"

namespace mempool {

class RemoteGet {
 public:
  /// `peer`: the blob's owner, in the life that the reference names.
  RemoteGet(Cluster& cluster, Cluster::PeerPtr peer, const DRef& ref, const GetOptions& options)
      : cluster_(cluster), peer_(std::move(peer)), ref_(ref), options_(options) {}

  RemoteGet(const RemoteGet&) = delete;  // a read under way refers to its buffer
  RemoteGet& operator=(const RemoteGet&) = delete;

  /// All of the bytes, in place or in a buffer of the pool's.
  Result<View> view() { return view(std::nullopt); }
  /// A part of them, to where the caller wants it.
  Status copy(std::uint64_t offset, std::span<std::byte> out);
  /// All of them, to a buffer that has room; another one of its size after a read that failed.
  Status fill(transport::Buffer& into);

  /// Posts the one-sided read of a blob that a hint leads to; what else there is to do is left to
  /// finish(), which is view() with that read.
  void start();
  Result<View> finish();

 private:
  enum class Place { kMemory, kElsewhere };
  /// How a read went that was posted before.
  using First = std::optional<Result<transport::Verdict>>;

  Result<View> view(First first);
  template <class Attempt>
  Result<Place> at_hints(Attempt attempt, First first = std::nullopt);
  Result<transport::Verdict> fabric_read(const LocationHint& hint, std::uint64_t offset,
                                         std::uint64_t bytes);
  Result<transport::Verdict> look(const LocationHint& hint);
  Result<transport::Verdict> shared_copy(const LocationHint& hint, std::uint64_t offset,
                                         std::span<std::byte> out);
  Result<transport::Verdict> judge(Result<transport::Peer::Outcome> outcome);
  Result<LocationHint> locate();
  /// Room for a payload behind kHeaderRoomBytes.
  Status need_buffer(std::uint64_t payload_bytes) {
    return buffer_ ? Status() : take_buffer(payload_bytes);
  }
  Status take_buffer(std::uint64_t payload_bytes);
  std::optional<spill::File> visible_file();
  std::optional<View> map_file();
  bool copy_file(std::uint64_t offset, std::span<std::byte> out);
  Status push(std::uint64_t offset, std::span<std::byte> out);
  bool readable(const LocationHint& hint) const;
  std::chrono::milliseconds read_timeout() const;
  Cluster::Clock::time_point deadline();
  View buffered_view();
  std::span<std::byte> buffered() const;
  transport::ExpectedBlob expected(const LocationHint& hint) const {
    return {ref_.id.object, hint.generation, ref_.length};
  }
  void count(std::uint64_t bytes);

  Cluster& cluster_;
  const Cluster::PeerPtr peer_;
  const DRef ref_;
  const GetOptions options_;
  Cluster::Clock::time_point deadline_{};  // see deadline()
  transport::Buffer buffer_;
  std::uint64_t least_room_bytes_ = 0;  // of the buffer that takes its place
  std::optional<transport::Peer::Read> started_;
  View in_place_;
  /// What the owner's last answer named; without a path when the blob is in memory.
  struct InFile {
    FileRef file;
    transport::FileStamp stamp;
  };
  std::optional<InFile> in_file_;
  // How the bytes came.
  Path path_ = Path::kPush;
  const transport::Provider* provider_ = nullptr;
};

}  // namespace mempool
