// Puller: reads the bytes of large sets out of their writers' memory.
//
// A part is read one-sidedly into a buffer of the Puller's, and its caller copies it from there. No
// draft's memory is ever the target of a read, so one that ends late, or never, can write only into
// a buffer that nobody is given before the fabric has let it go.
//
// Bounds: kReads buffers, however many peers there are. A peer can hold one for as long as reads
// from its memory do not end, and keep a caller waiting for kPatience, once a session. Without a
// free buffer sets are sent in parts.
//
// Thread safety: every call from any thread.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "transport/fabrics.h"

namespace mempool::transport {

class Puller {
 public:
  static constexpr std::size_t kReads = 4;
  static constexpr auto kPatience = std::chrono::seconds(3);

  Puller(Fabrics& fabrics, BufferPool& buffers) : fabrics_(fabrics), buffers_(buffers) {}
  /// Gives the buffers back: before they are trimmed. No call is under way.
  void close();

  /// A writer's memory, as it announced it. Ends before its fabric.
  class Source;
  using SourcePtr = std::shared_ptr<Source>;
  /// `host` is where the writer's session comes from: a peer cannot make the node connect to
  /// somebody else. NoProvider, InvalidArgument, Protocol.
  Result<SourcePtr> admit(const ProviderOffer& offer, std::uint64_t bytes, const std::string& host);

  /// `bytes` of the source, kPullPartBytes at most. Limit: no buffer is free. Unavailable: the
  /// source could not be read, and is not tried again.
  Result<Buffer> read(Source& source, std::uint64_t offset, std::uint64_t bytes);

 private:
  Result<Buffer> take_buffer();

  Fabrics& fabrics_;
  BufferPool& buffers_;
  std::mutex mutex_;
  std::vector<Buffer> made_;  // free are those that nobody else has: a read in flight has its own
};

}  // namespace mempool::transport
