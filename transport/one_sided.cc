#include "transport/one_sided.h"

#include <algorithm>
#include <cstring>

#include <mempool/detail/blob_header.h>

namespace mempool::transport {
namespace {

// Large blobs are read in parts, so that a deadline measures standstill and not size.
constexpr std::uint64_t kPartBytes = std::uint64_t{64} << 20;

RemoteRange at(const RemoteRange& range, std::uint64_t offset) {
  return {range.peer, range.address + offset, range.key};
}

bool shows(const std::byte* bytes, const RemoteBlob& blob) {
  BlobHeader header;
  std::memcpy(&header, bytes, sizeof header);
  return header.magic == BlobHeader::kMagic && header.object == blob.object &&
         header.generation == blob.generation && header.length == blob.length;
}

}  // namespace

Result<Verdict> read_verified(Fabric& fabric, const RemoteBlob& blob, std::uint64_t offset,
                              std::uint64_t bytes, const Buffer& into,
                              std::chrono::milliseconds timeout) {
  static_assert(sizeof(BlobHeader) == kHeaderRoomBytes);
  for (std::uint64_t done = 0; done < bytes;) {
    const auto part = std::min(kPartBytes, bytes - done);
    auto read = fabric.read(at(blob.header, sizeof(BlobHeader) + offset + done), into,
                            kHeaderRoomBytes + done, part,
                            std::chrono::steady_clock::now() + timeout);
    if (!read) return forward_error(std::move(read));
    done += part;
  }
  auto read = fabric.read(blob.header, into, 0, sizeof(BlobHeader),
                          std::chrono::steady_clock::now() + timeout);
  if (!read) return forward_error(std::move(read));
  return shows(into.data(), blob) ? Verdict::kAccepted : Verdict::kRejected;
}

}  // namespace mempool::transport
