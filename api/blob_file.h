// Blob files that are nobody's spill: reading one by its FileRef, saving one.
#pragma once

#include <filesystem>
#include <functional>
#include <span>
#include <string>

#include <mempool/ref.h>
#include <mempool/result.h>
#include <mempool/view.h>

#include "spill/spill.h"

namespace mempool {

/// Corrupt unless the file is valid and the one that `ref` names.
Result<View> map_blob_file(const FileRef& ref);
Result<View> map_blob_file(const spill::File& file);

using ReadBlob = std::function<Status(std::uint64_t offset, std::span<std::byte> out)>;

/// Writes a durable blob file in parts, so that a blob is never held a second time.
Result<FileRef> save_blob_file(const std::filesystem::path& path, const DRef& ref,
                               const std::string& type_name, bool overwrite, const ReadBlob& read);

}  // namespace mempool
