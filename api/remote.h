// Remote: the verbs on blobs of other nodes. Gets are one-sided reads where that works; all else is
// a request to the owner.
#pragma once

#include <atomic>

#include "api/cluster.h"
#include "api/verbs.h"

namespace mempool {

class Remote final : public Verbs {
 public:
  explicit Remote(Cluster& cluster) : cluster_(cluster) {}

  Result<DRef> set(std::span<const std::byte> bytes, const SetOptions& options) override;
  Result<View> get(const DRef& ref, const GetOptions& options) override;
  Status read(const DRef& ref, std::uint64_t offset, std::span<std::byte> out,
              const GetOptions& options) override;
  Status fill(const DRef& ref, Buffer& into, const GetOptions& options) override;
  std::unique_ptr<PendingView::Work> start_get(const DRef& ref, const GetOptions& options) override;
  std::vector<Result<DRef>> set_all(std::span<const std::span<const std::byte>> blobs,
                                    const SetOptions& options) override;
  Status remove(const DRef& ref) override;
  Result<FileRef> to_disk(const DRef& ref, bool release) override;
  Status prefetch(const DRef& ref) override;
  Result<DRef> adopt(const FileRef& file, const SetOptions& options) override;
  Result<View> get_file(const FileRef& file, const GetOptions& options) override;
  Result<BlobInfo> inspect(const DRef& ref) override;
  Result<Stats> stats(std::uint64_t node) override;

  Result<std::vector<NodeInfo>> nodes();

 private:
  Result<Cluster::PeerPtr> owner(const BlobId& id, std::uint32_t timeout_ms);
  Result<Cluster::PeerPtr> node_or_any(std::uint64_t node);
  Result<transport::Reply> ask(const BlobId& id, transport::Request request);
  Result<DRef> set_in_parts(transport::Peer& peer, std::span<const std::byte> bytes,
                            const SetOptions& options);
  template <class Move>
  Result<DRef> upload(transport::Peer& peer, std::uint64_t length, const SetOptions& options,
                      Move move);

  Cluster& cluster_;
  std::atomic<std::uint64_t> next_draft_{1};
};

}  // namespace mempool
