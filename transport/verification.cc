#include "transport/verification.h"

#include <ctime>

namespace mempool::transport {
namespace {

bool shows(const BlobHeader& header, const ExpectedBlob& blob) noexcept {
  return header.magic == BlobHeader::kMagic && header.object == blob.object &&
         header.generation == blob.generation && header.length == blob.length;
}

}  // namespace

Verdict verify(const BlobHeader& header, const ExpectedBlob& blob,
               const Evidence& evidence) noexcept {
  if (!shows(header, blob)) return Verdict::kRejected;
  if (evidence.one_read && evidence.took >= evidence.window) return Verdict::kReadHeaderAgain;
  return Verdict::kAccepted;
}

std::chrono::nanoseconds boot_time() noexcept {
  timespec now{};
  clock_gettime(CLOCK_BOOTTIME, &now);
  return std::chrono::seconds(now.tv_sec) + std::chrono::nanoseconds(now.tv_nsec);
}

}  // namespace mempool::transport
