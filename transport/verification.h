// The one decision whether bytes that were read from an owner's memory are the blob's.
//
// Every path that reads memory which its owner may reuse at any time asks here: one-sided reads
// over a fabric, copies out of shared memory, and looks at shared memory in place.
// docs/one-sided-reads.md has the rules and the argument.
#pragma once

#include <chrono>
#include <cstdint>
#include <ctime>

#include <mempool/detail/blob_header.h>

namespace mempool::transport {

/// What the header has to show.
struct ExpectedBlob {
  std::uint64_t object = 0;
  std::uint64_t generation = 0;
  std::uint64_t length = 0;
};

/// How a header stands to the payload that was read with it.
struct Evidence {
  bool one_read;                    // rule (i); else rule (ii)
  std::chrono::nanoseconds took;    // from before the read was posted until its completion was seen
  std::chrono::nanoseconds window;  // W, as the owner announced it

  /// Rule (i): header and payload came in one read.
  static Evidence of_one_read(std::chrono::nanoseconds took, std::chrono::nanoseconds window) {
    return {true, took, window};
  }
  /// Rule (ii): the header was read after all of the payload had come; of memory that is looked at
  /// in place, after the pin was visible to the owner.
  static Evidence of_header_read_last() { return {false, {}, {}}; }
};

enum class Verdict {
  kAccepted,
  kRejected,  // the memory holds something else now: ask the owner; what was read is undefined
  kReadHeaderAgain,  // too slow for rule (i): read the header once more, for rule (ii)
};

Verdict verify(const BlobHeader& header, const ExpectedBlob& blob,
               const Evidence& evidence) noexcept;

/// CLOCK_BOOTTIME, which goes on while the machine sleeps: a reader that slept has read slowly.
inline std::chrono::nanoseconds boot_time() noexcept {
  timespec now{};
  clock_gettime(CLOCK_BOOTTIME, &now);
  return std::chrono::seconds(now.tv_sec) + std::chrono::nanoseconds(now.tv_nsec);
}

}  // namespace mempool::transport
