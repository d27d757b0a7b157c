// Verified one-sided reads: the one place that decides whether bytes that were read are the blob's.
//
// Two rules of docs/one-sided-reads.md, where the argument stands:
//   (i)  header and payload came in one go that took less than the window W: one round trip;
//   (ii) a read of the header, posted after every payload read had completed, still shows the blob.
// Rule (i) rests on the owner keeping freed memory for longer than W; rule (ii) needs no clock and
// serves parts, slow reads and readers that were paused.
#pragma once

#include <chrono>
#include <cstdint>

#include <mempool/ref.h>

#include "transport/fabric.h"

namespace mempool::transport {

/// Room in front of the payload in a Buffer that receives a blob: the header lands there.
inline constexpr std::size_t kHeaderRoomBytes = 64;

/// What a reader expects where it reads.
struct RemoteBlob {
  RemoteRange header;  // of the blob's header
  std::uint64_t object = 0;
  std::uint64_t generation = 0;
  std::uint64_t length = 0;
  std::chrono::milliseconds window{0};  // W, as the owner announced it; 0: rule (ii) always
};

enum class Verdict {
  kAccepted,
  kRejected,  // the memory holds something else now: ask the owner; the buffer's bytes are
              // undefined
};

/// Reads payload bytes [offset, offset + bytes) to kHeaderRoomBytes in the buffer and verifies
/// them. Large ranges are read in parts; `timeout` is for each.
Result<Verdict> read_verified(Fabric& fabric, const RemoteBlob& blob, std::uint64_t offset,
                              std::uint64_t bytes, const Buffer& into,
                              std::chrono::milliseconds timeout);

}  // namespace mempool::transport
