#include "api/spill_disk.h"

#include "spill/mapped_files.h"

namespace mempool {
namespace {

class SpillMapping final : public store::DiskMapping {
 public:
  explicit SpillMapping(spill::Mapping mapping) : mapping_(std::move(mapping)) {}
  std::span<const std::byte> payload() const noexcept override { return mapping_.payload(); }

 private:
  spill::Mapping mapping_;
};

class SpillFile final : public store::DiskFile {
 public:
  /// `directory` is null for files that are not the node's own.
  SpillFile(spill::File file, std::shared_ptr<spill::Directory> directory)
      : file_(std::move(file)), directory_(std::move(directory)) {}

  const spill::File& file() const noexcept { return file_; }
  const FileRef& ref() const noexcept override { return file_.ref(); }
  std::uint64_t file_bytes() const noexcept override { return file_.file_bytes(); }

  Result<std::shared_ptr<const store::DiskMapping>> map() override {
    auto mapping = file_.map();
    if (!mapping) return forward_error(std::move(mapping));
    return std::make_shared<SpillMapping>(std::move(*mapping));
  }

  Status read(std::span<std::byte> out) override { return file_.read(0, out); }
  Status remove() override { return directory_ ? directory_->remove(file_) : Status{}; }

 private:
  spill::File file_;
  std::shared_ptr<spill::Directory> directory_;
};

class SpillWriter final : public store::DiskWriter {
 public:
  SpillWriter(spill::Writer writer, std::shared_ptr<spill::Directory> directory)
      : writer_(std::move(writer)), directory_(std::move(directory)) {}

  Status append(std::span<const std::byte> bytes) override { return writer_.append(bytes); }

  Result<std::shared_ptr<store::DiskFile>> finish() override {
    // A cache's file need not survive a power failure: no fsync.
    auto file = writer_.finish(/*durable=*/false);
    if (!file) return forward_error(std::move(file));
    return std::make_shared<SpillFile>(std::move(*file), directory_);
  }

 private:
  spill::Writer writer_;
  std::shared_ptr<spill::Directory> directory_;
};

class SpillDisk final : public store::Disk {
 public:
  explicit SpillDisk(std::unique_ptr<spill::Directory> directory)
      : directory_(std::move(directory)) {}

  Result<std::unique_ptr<store::DiskWriter>> create(std::uint64_t object, std::uint64_t length,
                                                    std::string_view type_name,
                                                    bool retain) override {
    auto writer = directory_->create(object, length, std::string(type_name), retain);
    if (!writer) return forward_error(std::move(writer));
    return std::make_unique<SpillWriter>(std::move(*writer), directory_);
  }

  std::uint64_t room_bytes() const noexcept override { return directory_->room_bytes(); }
  std::uint64_t overhead_bytes() const noexcept override { return spill::kHeaderBytes; }
  bool may_keep_mapping() const noexcept override { return spill::MappedFiles::may_keep_one(); }
  std::uint64_t used_bytes() const noexcept override { return directory_->used_bytes(); }
  std::uint64_t quota_bytes() const noexcept override { return directory_->quota_bytes(); }

 private:
  std::shared_ptr<spill::Directory> directory_;
};

}  // namespace

std::unique_ptr<store::Disk> make_spill_disk(std::unique_ptr<spill::Directory> directory) {
  return std::make_unique<SpillDisk>(std::move(directory));
}

std::shared_ptr<store::DiskFile> adopt_file(spill::File file) {
  return std::make_shared<SpillFile>(std::move(file), nullptr);
}

const spill::File& spill_file(const store::DiskFile& file) {
  return static_cast<const SpillFile&>(file).file();
}

}  // namespace mempool
