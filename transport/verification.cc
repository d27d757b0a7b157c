#include "transport/verification.h"

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

}  // namespace mempool::transport
