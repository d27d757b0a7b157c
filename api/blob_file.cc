#include "api/blob_file.h"

#include <algorithm>
#include <vector>

namespace mempool {
namespace {

constexpr std::uint64_t kPartBytes = std::uint64_t{8} << 20;

void drop_mapping(void* mapping, void*) noexcept {
  delete static_cast<spill::Mapping*>(mapping);
}

}  // namespace

Result<View> map_blob_file(const FileRef& ref) {
  auto file = spill::File::open(ref);
  if (!file) return forward_error(std::move(file));
  return map_blob_file(*file);
}

Result<View> map_blob_file(const spill::File& file) {
  auto mapped = file.map();
  if (!mapped) return forward_error(std::move(mapped));
  auto mapping = std::make_unique<spill::Mapping>(std::move(*mapped));
  const auto payload = mapping->payload();
  return View(payload, Path::kMappedFile, drop_mapping, mapping.release(), nullptr);
}

Result<FileRef> save_blob_file(const std::filesystem::path& path, const DRef& ref,
                               const std::string& type_name, bool overwrite, const ReadBlob& read) {
  std::error_code error;
  const auto absolute = std::filesystem::absolute(path, error);
  if (error) return fail(Code::kInvalidArgument, path.string() + ": " + error.message());
  auto writer = spill::Writer::create(absolute, {ref.id, ref.length, type_name}, overwrite);
  if (!writer) return forward_error(std::move(writer));
  std::vector<std::byte> part(std::min(kPartBytes, ref.length));
  for (std::uint64_t at = 0; at < ref.length; at += part.size()) {
    const auto bytes = std::span(part).first(std::min<std::uint64_t>(part.size(), ref.length - at));
    if (auto status = read(at, bytes); !status) return forward_error(std::move(status));
    if (auto status = writer->append(bytes); !status) return forward_error(std::move(status));
  }
  auto file = writer->finish(/*durable=*/true);
  if (!file) return forward_error(std::move(file));
  return file->ref();
}

}  // namespace mempool
