#include "transport/one_sided.h"

#include <algorithm>
#include <cstring>

namespace mempool::transport {
namespace {

// Large blobs are read in parts, so that a deadline measures standstill and not size.
constexpr std::uint64_t kPartBytes = std::uint64_t{64} << 20;

RemoteRange at(const RemoteRange& range, std::uint64_t offset) {
  return {range.peer, range.address + offset, range.key};
}

}  // namespace

VerifiedRead::VerifiedRead(Fabric& fabric, const RemoteBlob& blob, std::uint64_t offset,
                           std::uint64_t bytes, const Buffer& into)
    : fabric_(fabric),
      blob_(blob),
      offset_(offset),
      bytes_(bytes),
      into_(into),
      begin_(boot_time()),  // before the call that is accepted
      first_(whole() ? fabric.start(blob.header, into, 0, sizeof(BlobHeader) + bytes)
                     : post_payload(0, bytes_at_once())) {}

std::uint64_t VerifiedRead::bytes_at_once() const {
  return std::min(kPartBytes, bytes_);
}

bool VerifiedRead::whole() const {
  return offset_ == 0 && bytes_ == blob_.expected.length && bytes_ <= kPartBytes;
}

BlobHeader VerifiedRead::header() const {
  BlobHeader seen;
  std::memcpy(&seen, into_.data(), sizeof seen);
  return seen;
}

PendingRead VerifiedRead::post_payload(std::uint64_t from, std::uint64_t bytes) {
  return fabric_.start(at(blob_.header, sizeof(BlobHeader) + offset_ + from), into_,
                       kHeaderRoomBytes + from, bytes);
}

Status VerifiedRead::finish_payload(std::chrono::milliseconds timeout,
                                    const std::stop_token& ended) {
  auto status = first_.finish(timeout, ended);
  for (auto done = bytes_at_once(); status && done < bytes_;) {
    const auto part = std::min(kPartBytes, bytes_ - done);
    status = post_payload(done, part).finish(timeout, ended);
    done += part;
  }
  return status;
}

Result<Verdict> VerifiedRead::finish(std::chrono::milliseconds timeout,
                                     const std::stop_token& ended) {
  if (whole()) {
    if (auto read = first_.finish(timeout, ended); !read) return forward_error(std::move(read));
    const auto took = boot_time() - begin_;  // after the completion was seen
    const auto verdict =
        verify(header(), blob_.expected, Evidence::of_one_read(took, blob_.window));
    if (verdict != Verdict::kReadHeaderAgain) return verdict;
    late_ = true;
  } else if (auto read = finish_payload(timeout, ended); !read) {
    return forward_error(std::move(read));
  }
  // Rule (ii): the header as it is now, after all of the payload was read.
  auto read = fabric_.read(blob_.header, into_, 0, sizeof(BlobHeader), timeout, ended);
  if (!read) return forward_error(std::move(read));
  return verify(header(), blob_.expected, Evidence::of_header_read_last());
}

}  // namespace mempool::transport
