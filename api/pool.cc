// Pool: every verb finds who can do it - this process's node or the remote side - and hands it on.
#include <algorithm>
#include <cstring>
#include <deque>

#include <mempool/mempool.h>

#include "api/blob_file.h"
#include "api/buffer_access.h"
#include "api/pool_core.h"

namespace mempool {

Pool::Pool(std::unique_ptr<PoolCore> core) noexcept : core_(std::move(core)) {}
Pool::Pool(Pool&&) noexcept = default;

Pool& Pool::operator=(Pool&& other) noexcept {
  std::swap(core_, other.core_);
  return *this;
}

Pool::~Pool() {
  // The threads and files are the parent's: a forked child only forgets them.
  if (core_ && !core_->usable()) (void)core_.release();
}

Result<DRef> Pool::poolset(std::span<const std::byte> bytes, const SetOptions& options) {
  auto verbs = core_->verbs_of_node(options.node);
  if (!verbs) return forward_error(std::move(verbs));
  return (*verbs)->set(bytes, options);
}

Result<View> Pool::poolget(const DRef& ref, const GetOptions& options) {
  if (Verbs* owner = core_->owner_here(ref.id)) return owner->get(ref, options);
  auto verbs = core_->verbs(ref.id);
  if (!verbs) return forward_error(std::move(verbs));
  return (*verbs)->get(ref, options);
}

Status Pool::poolget(const DRef& ref, Buffer& into, const GetOptions& options) {
  auto verbs = core_->verbs(ref.id);
  if (!verbs) return forward_error(std::move(verbs));
  if (into.bytes().size() < ref.length)
    return fail(Code::kInvalidArgument, "a buffer of " + std::to_string(into.bytes().size()) +
                                            " bytes has no room for a blob of " +
                                            std::to_string(ref.length));
  return (*verbs)->fill(ref, into, options);
}

Result<Buffer> Pool::buffer(std::size_t bytes) {
  if (auto fine = core_->usable(); !fine) return forward_error(std::move(fine));
  const auto room = std::min(bytes, transport::BufferPool::kMaxBytes);
  auto buffer = core_->buffers().take(transport::kHeaderRoomBytes + room);
  if (!buffer) return forward_error(std::move(buffer));
  return BufferAccess::wrap(std::move(*buffer));
}

PendingView Pool::poolget_async(const DRef& ref, const GetOptions& options) {
  struct Failed final : PendingView::Work {
    explicit Failed(Error why) : error(std::move(why)) {}
    Result<View> finish() override { return tl::unexpected(std::move(error)); }
    Error error;
  };
  auto verbs = core_->verbs(ref.id);
  if (!verbs) return PendingView(std::make_unique<Failed>(std::move(verbs).error()));
  return PendingView((*verbs)->start_get(ref, options));
}

std::vector<Result<View>> Pool::poolget_all(std::span<const DRef> refs, const GetOptions& options) {
  constexpr std::size_t kInFlight = 32;
  std::vector<Result<View>> views;
  views.reserve(refs.size());
  std::deque<PendingView> pending;
  for (const auto& ref : refs) {
    if (pending.size() == kInFlight) {
      views.push_back(pending.front().wait());
      pending.pop_front();
    }
    pending.push_back(poolget_async(ref, options));
  }
  for (auto& get : pending) views.push_back(get.wait());
  return views;
}

std::vector<Result<DRef>> Pool::poolset_all(std::span<const std::span<const std::byte>> blobs,
                                            const SetOptions& options) {
  auto verbs = core_->verbs_of_node(options.node);
  if (verbs) return (*verbs)->set_all(blobs, options);
  return std::vector<Result<DRef>>(blobs.size(), tl::unexpected(verbs.error()));
}

Status Pool::poolread(const DRef& ref, std::uint64_t offset, std::span<std::byte> out,
                      const GetOptions& options) {
  auto verbs = core_->verbs(ref.id);
  if (!verbs) return forward_error(std::move(verbs));
  if (offset > ref.length || ref.length - offset < out.size())
    return fail(Code::kInvalidArgument,
                "bytes " + std::to_string(offset) + " to " + std::to_string(offset + out.size()) +
                    " are not inside a blob of " + std::to_string(ref.length) + " bytes");
  return (*verbs)->read(ref, offset, out, options);
}

Result<View> Pool::poolget(const FileRef& ref, const GetOptions& options) {
  if (auto fine = core_->usable(); !fine) return forward_error(std::move(fine));
  auto mapped = core_->local() ? core_->local()->get_file(ref, options) : map_blob_file(ref);
  const bool ask_writer =
      !mapped && core_->remote() &&
      (mapped.error().code == Code::kNotFound || mapped.error().code == Code::kPermissionDenied) &&
      ref.id.node != core_->self().id;
  if (ask_writer) return core_->remote()->get_file(ref, options);
  if (mapped) core_->counters().count(Path::kMappedFile, nullptr, ref.length);
  return mapped;
}

Status Pool::pooldelete(const DRef& ref) {
  auto verbs = core_->verbs(ref.id);
  if (!verbs) return forward_error(std::move(verbs));
  return (*verbs)->remove(ref);
}

Result<FileRef> Pool::movetodisk(const DRef& ref) {
  auto verbs = core_->verbs(ref.id);
  if (!verbs) return forward_error(std::move(verbs));
  return (*verbs)->to_disk(ref, /*release=*/true);
}

Result<FileRef> Pool::copytodisk(const DRef& ref) {
  auto verbs = core_->verbs(ref.id);
  if (!verbs) return forward_error(std::move(verbs));
  return (*verbs)->to_disk(ref, /*release=*/false);
}

Result<FileRef> Pool::savetodisk(const DRef& ref, const std::filesystem::path& path,
                                 const SaveOptions& options) {
  auto verbs = core_->verbs(ref.id);
  if (!verbs) return forward_error(std::move(verbs));
  auto info = (*verbs)->inspect(ref);
  if (!info) return forward_error(std::move(info));
  if (info->ref.length != ref.length)
    return fail(Code::kInvalidArgument, "the reference says " + std::to_string(ref.length) +
                                            " bytes, its blob has " +
                                            std::to_string(info->ref.length));
  return save_blob_file(path, ref, info->type_name, options.overwrite,
                        [&](std::uint64_t offset, std::span<std::byte> out) {
                          return (*verbs)->read(ref, offset, out, {.touch = false});
                        });
}

Result<DRef> Pool::adopt(const FileRef& file, const SetOptions& options) {
  auto verbs = core_->verbs_of_node(options.node);
  if (!verbs) return forward_error(std::move(verbs));
  return (*verbs)->adopt(file, options);
}

Status Pool::prefetch(const DRef& ref) {
  auto verbs = core_->verbs(ref.id);
  if (!verbs) return forward_error(std::move(verbs));
  return (*verbs)->prefetch(ref);
}

Result<BlobInfo> Pool::inspect(const DRef& ref) {
  auto verbs = core_->verbs(ref.id);
  if (!verbs) return forward_error(std::move(verbs));
  return (*verbs)->inspect(ref);
}

Result<std::vector<NodeInfo>> Pool::nodes() {
  if (auto fine = core_->usable(); !fine) return forward_error(std::move(fine));
  const NodeInfo own = core_->self();
  if (own.id == 0) return core_->remote()->nodes();
  std::vector<NodeInfo> all{own};
  if (core_->cluster())
    for (auto& member : core_->cluster()->membership().members()) all.push_back(std::move(member));
  return all;
}

Result<Stats> Pool::stats(std::uint64_t node) {
  auto verbs = core_->verbs_of_node(node);
  if (!verbs) return forward_error(std::move(verbs));
  return *verbs == core_->local() ? core_->own_stats() : (*verbs)->stats(node);
}

Stats Pool::local_stats() const {
  Stats stats;
  if (!core_->usable()) return stats;
  stats.gets_by_path = core_->counters().snapshot();
  stats.retries = core_->counters().retries();
  if (core_->cluster()) stats.path_changes = core_->cluster()->fabrics().path_changes();
  return stats;
}

NodeInfo Pool::self() const {
  return core_->self();
}

}  // namespace mempool
