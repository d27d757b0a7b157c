// Verified one-sided reads over a fabric: a blob's header and payload from the owner's memory.
//
// Two rules of docs/one-sided-reads.md, where the argument stands:
//   (i)  header and payload came in one go that took less than the window W: one round trip;
//   (ii) a read of the header, posted after every payload read had completed, still shows the blob.
// Rule (i) rests on the owner keeping freed memory for longer than W; rule (ii) needs no clock and
// serves parts, slow reads and readers that were paused. transport/verification decides.
//
// Thread safety: one thread at a time for a VerifiedRead.
#pragma once

#include <chrono>
#include <cstdint>
#include <stop_token>

#include <mempool/ref.h>

#include "transport/fabric.h"
#include "transport/verification.h"

namespace mempool::transport {

/// Room in front of the payload in a Buffer that receives a blob: the header lands there.
inline constexpr std::size_t kHeaderRoomBytes = sizeof(BlobHeader);

/// A blob where a reader thinks that it is.
struct RemoteBlob {
  RemoteRange header;  // of the blob's header
  ExpectedBlob expected;
  std::chrono::milliseconds window{0};  // W, as the owner announced it; 0: rule (ii) always
};

/// A read of payload bytes [offset, offset + bytes) to kHeaderRoomBytes in a buffer.
class VerifiedRead {
 public:
  /// Posts the first read. Large ranges are read in parts, by finish(). `into` outlives that.
  VerifiedRead(Fabric& fabric, const RemoteBlob& blob, std::uint64_t offset, std::uint64_t bytes,
               const Buffer& into);
  VerifiedRead(Fabric&, const RemoteBlob&, std::uint64_t, std::uint64_t, Buffer&&) = delete;
  /// Once. Accepted or Rejected; the bytes of a rejected read are undefined. `timeout` is for each
  /// part; Unavailable as soon as the owner is known to have `ended`.
  Result<Verdict> finish(std::chrono::milliseconds timeout, const std::stop_token& ended = {});
  /// How many bytes `timeout` is for: all, or a part.
  std::uint64_t bytes_at_once() const;
  /// Whether it was too slow for rule (i); after finish().
  bool late() const { return late_; }

 private:
  bool whole() const;
  PendingRead post_payload(std::uint64_t from, std::uint64_t bytes);
  Status finish_payload(std::chrono::milliseconds timeout, const std::stop_token& ended);
  BlobHeader header() const;

  Fabric& fabric_;
  RemoteBlob blob_;
  std::uint64_t offset_;
  std::uint64_t bytes_;
  const Buffer& into_;
  std::chrono::nanoseconds begin_;  // before the first read is posted
  PendingRead first_;
  bool late_ = false;
};

}  // namespace mempool::transport
