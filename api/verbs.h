// What can be done with blobs, wherever they are: Node does it on its own store, Remote asks the
// owner. Pool picks one of the two by the reference and does nothing else.
//
// Thread safety: every call from any thread.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include <mempool/buffer.h>
#include <mempool/info.h>
#include <mempool/options.h>
#include <mempool/pending.h>
#include <mempool/ref.h>
#include <mempool/result.h>
#include <mempool/view.h>

namespace mempool {

class Verbs {
 public:
  virtual ~Verbs() = default;
  virtual Result<DRef> set(std::span<const std::byte> bytes, const SetOptions& options) = 0;
  virtual Result<View> get(const DRef& ref, const GetOptions& options) = 0;
  virtual Status read(const DRef& ref, std::uint64_t offset, std::span<std::byte> out,
                      const GetOptions& options) = 0;
  /// `into` has room for the blob.
  virtual Status fill(const DRef& ref, Buffer& into, const GetOptions& options) = 0;
  virtual std::unique_ptr<PendingView::Work> start_get(const DRef& ref,
                                                       const GetOptions& options) = 0;
  virtual std::vector<Result<DRef>> set_all(std::span<const std::span<const std::byte>> blobs,
                                            const SetOptions& options) = 0;
  virtual Status remove(const DRef& ref) = 0;
  virtual Result<FileRef> to_disk(const DRef& ref, bool release) = 0;
  virtual Status prefetch(const DRef& ref) = 0;
  virtual Result<DRef> adopt(const FileRef& file, const SetOptions& options) = 0;
  /// The payload of a blob file: this process's node maps what it sees, Remote asks the node that
  /// wrote it.
  virtual Result<View> get_file(const FileRef& file, const GetOptions& options) = 0;
  virtual Result<BlobInfo> inspect(const DRef& ref) = 0;
  virtual Result<Stats> stats(std::uint64_t node) = 0;
};

}  // namespace mempool
