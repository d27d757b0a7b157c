#include "transport/one_sided.h"

#include <algorithm>
#include <cstring>
#include <ctime>

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

/// CLOCK_BOOTTIME goes on while the machine sleeps: a reader that slept has read slowly.
std::chrono::nanoseconds boot_time() {
  timespec now{};
  clock_gettime(CLOCK_BOOTTIME, &now);
  return std::chrono::seconds(now.tv_sec) + std::chrono::nanoseconds(now.tv_nsec);
}

std::chrono::steady_clock::time_point deadline(std::chrono::milliseconds timeout) {
  return std::chrono::steady_clock::now() + timeout;
}

/// Rule (ii): the header as it is now, after all of the payload was read.
Result<Verdict> read_header_again(Fabric& fabric, const RemoteBlob& blob, const Buffer& into,
                                  std::chrono::milliseconds timeout) {
  auto read = fabric.read(blob.header, into, 0, sizeof(BlobHeader), deadline(timeout));
  if (!read) return forward_error(std::move(read));
  return shows(into.data(), blob) ? Verdict::kAccepted : Verdict::kRejected;
}

Result<Verdict> read_whole(Fabric& fabric, const RemoteBlob& blob, const Buffer& into,
                           std::chrono::milliseconds timeout) {
  const auto begin = boot_time();  // before the call that is accepted
  auto read =
      fabric.read(blob.header, into, 0, sizeof(BlobHeader) + blob.length, deadline(timeout));
  if (!read) return forward_error(std::move(read));
  const auto took = boot_time() - begin;  // after the completion was seen
  if (!shows(into.data(), blob)) return Verdict::kRejected;
  if (took < blob.window) return Verdict::kAccepted;
  return read_header_again(fabric, blob, into, timeout);
}

}  // namespace

Result<Verdict> read_verified(Fabric& fabric, const RemoteBlob& blob, std::uint64_t offset,
                              std::uint64_t bytes, const Buffer& into,
                              std::chrono::milliseconds timeout) {
  static_assert(sizeof(BlobHeader) == kHeaderRoomBytes);
  const bool whole = offset == 0 && bytes == blob.length && bytes <= kPartBytes;
  if (whole) return read_whole(fabric, blob, into, timeout);
  for (std::uint64_t done = 0; done < bytes;) {
    const auto part = std::min(kPartBytes, bytes - done);
    auto read = fabric.read(at(blob.header, sizeof(BlobHeader) + offset + done), into,
                            kHeaderRoomBytes + done, part, deadline(timeout));
    if (!read) return forward_error(std::move(read));
    done += part;
  }
  return read_header_again(fabric, blob, into, timeout);
}

}  // namespace mempool::transport
