#include "api/node.h"

#include <algorithm>
#include <fstream>

#include <unistd.h>

#include <mempool/detail/forks.h>

#include "api/blob_file.h"
#include "api/identity.h"
#include "api/spill_disk.h"
#include "transport/log.h"

namespace mempool {
namespace {

std::uint64_t resident_bytes() {
  std::uint64_t total = 0;
  std::uint64_t resident = 0;
  std::ifstream statm("/proc/self/statm");
  statm >> total >> resident;
  return resident * static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
}

void drop_mapping(void* mapping, void*) noexcept {
  delete static_cast<std::shared_ptr<const store::DiskMapping>*>(mapping);
}

void drop_part(void* part, void*) noexcept {
  delete[] static_cast<std::byte*>(part);
}

View view_of_file(std::shared_ptr<const store::DiskMapping> mapping) {
  const auto payload = mapping->payload();
  auto held = std::make_unique<std::shared_ptr<const store::DiskMapping>>(std::move(mapping));
  return View(payload, Path::kMappedFile, drop_mapping, held.release(), nullptr);
}

Result<View> read_part(const spill::File& file, std::uint64_t offset, std::uint64_t bytes) {
  auto part = std::make_unique<std::byte[]>(bytes);
  if (auto read = file.read(offset, {part.get(), bytes}); !read)
    return forward_error(std::move(read));
  std::byte* held = part.release();
  return View({held, bytes}, Path::kMappedFile, drop_part, held, nullptr);
}

/// Null when there is none. One that cannot be used is an error of the blob that needs it; those
/// who run a node hear of it before.
Result<std::unique_ptr<store::Disk>> open_disk(const PoolOptions& options, const BlobId& life) {
  if (options.spill_dir.empty()) return nullptr;
  auto directory = spill::Directory::open({.root = options.spill_dir,
                                           .cluster = life.cluster,
                                           .node = life.node,
                                           .incarnation = life.incarnation,
                                           .quota_bytes = options.max_disksize});
  if (!directory) return forward_error(std::move(directory));
  const auto usable = (*directory)->usable();
  if (!usable && !options.listen.empty())
    transport::log().warn(
        "the spill directory {} is of no use: {}; blobs that need it will be refused (see mempool "
        "doctor)",
        options.spill_dir, usable.error().message);
  return make_spill_disk(std::move(*directory));
}

}  // namespace

Result<std::unique_ptr<Node>> Node::open(const PoolOptions& options, const BlobId& life,
                                         std::shared_ptr<const store::RemotePins> pins) {
  auto disk = open_disk(options, life);
  if (!disk) return forward_error(std::move(disk));
  auto store = store::Store::create({.max_memsize = options.max_memsize,
                                     .policy = options.policy,
                                     .exposed = pins != nullptr,
                                     .quarantine_ms = options.quarantine_ms,
                                     .remote_pins = std::move(pins)},
                                    std::move(*disk));
  if (!store) return forward_error(std::move(store));
  return std::unique_ptr<Node>(new Node(options, life, std::move(*store)));
}

Node::Node(const PoolOptions& options, const BlobId& life, std::unique_ptr<store::Store> store)
    : life_(life),
      timeout_ms_(options.timeout_ms),
      drop_on_evict_(options.drop_on_evict),
      store_(std::move(store)) {}

void Node::count_in(PathCounters& counters) {
  counters_ = &counters;
  counters.add_in_process([this] { return store_->gets_in_arena(); });
}

Status Node::check(const SetOptions& options) {
  if (options.type_name.size() <= kMaxTypeNameBytes) return {};
  return fail(Code::kInvalidArgument, "a type name has at most " +
                                          std::to_string(kMaxTypeNameBytes) + " bytes, this has " +
                                          std::to_string(options.type_name.size()));
}

store::BlobOptions Node::blob_options(const SetOptions& options, std::uint32_t timeout_ms) const {
  return {.type_name = options.type_name,
          .drop_on_evict = options.drop_on_evict || drop_on_evict_,
          .retain = options.retain,
          .timeout_ms = timeout_ms ? timeout_ms : timeout_ms_};
}

DRef Node::ref_of(const store::Placed& placed, std::uint64_t length) const {
  DRef ref{life_, length, placed.hint};
  ref.id.object = placed.object;
  return ref;
}

// ---- verbs ----

Result<DRef> Node::set(std::span<const std::byte> bytes, const SetOptions& options) {
  if (auto fine = check(options); !fine) return forward_error(std::move(fine));
  auto placed = store_->set(bytes, blob_options(options, options.timeout_ms));
  if (!placed) return forward_error(std::move(placed));
  return ref_of(*placed, bytes.size());
}

Result<View> Node::get(const DRef& ref, const GetOptions& options) {
  // The one thing that is returned: so the view is made where the caller has it, and never moved.
  auto view = options.touch ? store_->get(ref.id.object) : store_->peek(ref.id.object);
  if (view && view->size() != ref.length) [[unlikely]]
    view = fail(Code::kInvalidArgument, "the reference says " + std::to_string(ref.length) +
                                            " bytes, its blob has " + std::to_string(view->size()));
  // The store has counted the rest.
  if (view && (!options.touch || view->path() != Path::kInProcess))
    counters_->count(view->path(), nullptr, view->size());
  return view;
}

Status Node::read(const DRef& ref, std::uint64_t offset, std::span<std::byte> out,
                  const GetOptions& options) {
  auto view = get(ref, options);
  if (!view && view.error().code == Code::kLimit) {
    // A part can be read where nothing more can be mapped.
    const auto file = store_->file(ref.id.object);
    if (file && *file) return spill_file(**file).read(offset, out);
  }
  if (!view) return forward_error(std::move(view));
  if (offset > view->size() || view->size() - offset < out.size())
    return fail(Code::kInvalidArgument,
                "the range is outside the blob of " + std::to_string(view->size()) + " bytes");
  // A span of nothing may have no address, which memcpy must not see.
  std::ranges::copy(view->bytes().subspan(offset, out.size()), out.begin());
  return {};
}

Status Node::fill(const DRef& ref, Buffer& into, const GetOptions& options) {
  return read(ref, 0, into.bytes().first(ref.length), options);
}

std::unique_ptr<PendingView::Work> Node::start_get(const DRef& ref, const GetOptions& options) {
  struct Done final : PendingView::Work {
    explicit Done(Result<View> got) : view(std::move(got)) {}
    Result<View> finish() override {
      if (auto ours = check_process(forks); !ours) return forward_error(std::move(ours));
      return std::move(view);
    }
    const unsigned forks = current_forks();
    Result<View> view;
  };
  return std::make_unique<Done>(get(ref, options));
}

std::vector<Result<DRef>> Node::set_all(std::span<const std::span<const std::byte>> blobs,
                                        const SetOptions& options) {
  std::vector<Result<DRef>> refs;
  refs.reserve(blobs.size());
  for (const auto& bytes : blobs) refs.push_back(set(bytes, options));
  return refs;
}

Status Node::remove(const DRef& ref) {
  return store_->remove(ref.id.object);
}

Result<FileRef> Node::to_disk(const DRef& ref, bool release) {
  return store_->write_to_disk(ref.id.object, release);
}

Status Node::prefetch(const DRef& ref) {
  return store_->load(ref.id.object);
}

Result<DRef> Node::adopt(const FileRef& file, const SetOptions& options) {
  if (auto fine = check(options); !fine) return forward_error(std::move(fine));
  auto opened = spill::File::open(file);
  if (!opened) return forward_error(std::move(opened));
  SetOptions described = options;
  if (described.type_name.empty()) described.type_name = opened->type_name();
  const auto length = opened->ref().length;
  auto placed =
      store_->adopt(adopt_file(std::move(*opened)), blob_options(described, options.timeout_ms));
  if (!placed) return forward_error(std::move(placed));
  return ref_of(*placed, length);
}

/// Unchanged since this life wrote it, it need not be read to be verified. Null for others.
std::shared_ptr<store::DiskFile> Node::own_file(const FileRef& ref) const {
  if (!check_identity(ref.id, life_)) return nullptr;
  auto own = store_->file(ref.id.object);
  return own && *own && (*own)->ref() == ref ? *own : nullptr;
}

Result<View> Node::get_file(const FileRef& ref, const GetOptions&) {
  if (const auto own = own_file(ref)) {
    auto mapping = own->map();
    if (!mapping) return forward_error(std::move(mapping));
    return view_of_file(std::move(*mapping));
  }
  return map_blob_file(ref);
}

Result<BlobInfo> Node::inspect(const DRef& ref) {
  auto info = store_->inspect(ref.id.object);
  if (!info) return info;
  const auto object = info->ref.id.object;
  info->ref.id = life_;
  info->ref.id.object = object;
  info->path = path_name(info->ref.hint.generation ? Path::kInProcess : Path::kMappedFile);
  return info;
}

Result<Stats> Node::stats(std::uint64_t) {
  Stats stats;
  stats.node = life_.node;
  stats.store = store_->stats();
  if (counters_) stats.gets_by_path = counters_->snapshot();
  stats.rss_bytes = resident_bytes();
  return stats;
}

// ---- for the server ----

Result<store::Store::Draft> Node::begin(std::uint64_t length, const SetOptions& options,
                                        std::uint32_t timeout_ms) {
  if (auto fine = check(options); !fine) return forward_error(std::move(fine));
  return store_->begin(length, blob_options(options, timeout_ms));
}

Result<Node::Located> Node::locate(std::uint64_t object, bool touch) {
  auto location = store_->locate(object, touch);
  if (!location) return forward_error(std::move(location));
  Located located{
      ref_of({object, location->hint}, location->length), {}, location->reads_from_file};
  if (location->file) located.file = spill_file(*location->file);
  return located;
}

std::optional<View> Node::get_in_arena(std::uint64_t object, bool touch) {
  return store_->get_in_arena(object, touch);
}

Result<View> Node::read_from_file(std::uint64_t object, std::uint64_t offset, std::uint64_t bytes) {
  auto file = store_->file(object);
  if (!file) return forward_error(std::move(file));
  // Back in the arena since it was looked for there.
  if (!*file) return fail(Code::kUnavailable, "the blob moved: ask again");
  return read_part(spill_file(**file), offset, bytes);
}

Result<View> Node::read_from_file(const FileRef& ref, std::uint64_t offset, std::uint64_t bytes) {
  if (const auto own = own_file(ref)) return read_part(spill_file(*own), offset, bytes);
  auto file = spill::File::open(ref);
  if (!file) return forward_error(std::move(file));
  return read_part(*file, offset, bytes);
}

std::optional<FileRef> Node::file_to_check(std::uint64_t object) const {
  const auto file = store_->file(object);
  if (!file || !*file || !spill_file(**file).needs_check()) return std::nullopt;
  return (*file)->ref();
}

std::optional<FileRef> Node::file_to_check(const FileRef& ref) const {
  const auto own = own_file(ref);
  const auto file = own ? Result<spill::File>(spill_file(*own)) : spill::File::open(ref);
  if (!file || !file->needs_check()) return std::nullopt;
  return ref;
}

}  // namespace mempool
