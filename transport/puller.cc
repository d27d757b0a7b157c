#include "transport/puller.h"

#include <atomic>

#include "transport/address.h"
#include "transport/log.h"

namespace mempool::transport {

class Puller::Source {
 public:
  Source(Fabric& in, FabricAddress at, const ProviderOffer& offer, std::uint64_t length)
      : fabric(in),
        address(at),
        key(offer.keys.front()),
        base(offer.bases.front()),
        bytes(length) {}
  ~Source() { fabric.remove(address); }
  Source(const Source&) = delete;
  Source& operator=(const Source&) = delete;

  Fabric& fabric;
  const FabricAddress address;
  const std::uint64_t key;
  const std::uint64_t base;
  const std::uint64_t bytes;
  std::atomic<bool> failed{false};
};

Result<Puller::SourcePtr> Puller::admit(const ProviderOffer& offer, std::uint64_t bytes,
                                        const std::string& host) {
  if (offer.keys.size() != 1 || offer.bases.size() != 1)
    return fail(Code::kInvalidArgument, "a source is one piece of memory");
  Fabric* fabric = fabrics_.listening_over(offer.name);
  if (!fabric)
    return fail(Code::kNoProvider, "the node does not listen over \"" + offer.name + "\"");
  if (host_of_socket_address(offer.address) != host)
    return fail(Code::kInvalidArgument,
                "the source is not at " + host + ", where its session comes from");
  auto address = fabric->insert(offer.address);
  if (!address) return forward_error(std::move(address));
  log().debug("large sets from {} are pulled over {}", host, offer.name);
  return std::make_shared<Source>(*fabric, *address, offer, bytes);
}

Result<Buffer> Puller::take_buffer() {
  std::lock_guard lock(mutex_);
  for (const auto& buffer : made_)
    if (buffer.block()->references.load(std::memory_order_acquire) == 1) return buffer;
  if (made_.size() == kReads) {
    log().debug("no buffer is free to pull a part: the set is sent");
    return fail(Code::kLimit, "the node pulls " + std::to_string(kReads) + " parts at a time");
  }
  auto buffer = buffers_.take(kPullPartBytes);
  if (buffer) made_.push_back(*buffer);
  return buffer;
}

Result<Buffer> Puller::read(Source& source, std::uint64_t offset, std::uint64_t bytes) {
  if (bytes > kPullPartBytes || offset > source.bytes || source.bytes - offset < bytes)
    return fail(Code::kInvalidArgument, "the part is outside the source");
  if (source.failed) return fail(Code::kUnavailable, "an earlier read of the source failed");
  auto buffer = take_buffer();
  if (!buffer) return buffer;
  const RemoteRange from{source.address, source.base + offset, source.key};
  auto read = source.fabric.read(from, *buffer, 0, bytes, kPatience);
  if (read) return buffer;
  source.failed = true;
  log().debug("the owner cannot read the source of a session: {}", read.error().message);
  return fail(Code::kUnavailable, "the owner cannot read the source: " + read.error().message);
}

void Puller::close() {
  std::lock_guard lock(mutex_);
  made_.clear();
}

}  // namespace mempool::transport
