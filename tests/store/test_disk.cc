#include "test_disk.h"

#include <cstdlib>
#include <fstream>
#include <utility>

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

namespace mempool::store::testing {
namespace {

constexpr std::chrono::seconds kPatience(60);

class TestMapping final : public DiskMapping {
 public:
  TestMapping(std::shared_ptr<DiskControl> control, void* start, std::size_t length)
      : control_(std::move(control)), start_(start), length_(length) {
    ++control_->mapped_now;
  }
  ~TestMapping() override {
    --control_->mapped_now;
    if (start_ != nullptr) ::munmap(start_, length_);
  }
  std::span<const std::byte> payload() const noexcept override {
    return {static_cast<const std::byte*>(start_), length_};
  }

 private:
  const std::shared_ptr<DiskControl> control_;
  void* start_;
  std::size_t length_;
};

class TestFile final : public DiskFile {
 public:
  TestFile(std::shared_ptr<DiskControl> control, FileRef ref, bool counted)
      : control_(std::move(control)), ref_(std::move(ref)), counted_(counted) {}
  ~TestFile() override {
    if (control_->on_file_drop) control_->on_file_drop();
  }

  const FileRef& ref() const noexcept override { return ref_; }
  std::uint64_t file_bytes() const noexcept override {
    return ref_.length + DiskControl::kOverhead;
  }

  Result<std::shared_ptr<const DiskMapping>> map() override {
    control_->map_gate.pass();
    control_->take_memory();
    ++control_->mapped;
    if (control_->fail_maps) return fail(Code::kCorrupt, ref_.path + " is damaged");
    const int fd = ::open(ref_.path.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) return fail(Code::kCorrupt, ref_.path + " is missing");
    void* start = nullptr;
    if (ref_.length != 0) start = ::mmap(nullptr, ref_.length, PROT_READ, MAP_SHARED, fd, 0);
    ::close(fd);
    if (start == MAP_FAILED) return fail(Code::kIo, "mmap");
    return std::make_shared<TestMapping>(control_, start, ref_.length);
  }

  Status read(std::span<std::byte> out) override {
    control_->take_memory();
    ++control_->read;
    if (control_->fail_maps) return fail(Code::kCorrupt, ref_.path + " is damaged");
    std::ifstream in(ref_.path, std::ios::binary);
    in.read(reinterpret_cast<char*>(out.data()), static_cast<std::streamsize>(out.size()));
    if (static_cast<std::size_t>(in.gcount()) != out.size()) return fail(Code::kCorrupt, "short");
    return {};
  }

  Status remove() override {
    if (control_->removes_throw) throw std::bad_alloc();
    if (control_->fail_removes) return fail(Code::kIo, ref_.path + " cannot be removed");
    if (std::filesystem::remove(ref_.path) && counted_) control_->used -= file_bytes();
    return {};
  }

 private:
  std::shared_ptr<DiskControl> control_;
  FileRef ref_;
  bool counted_;
};

class TestWriter final : public DiskWriter {
 public:
  TestWriter(std::shared_ptr<DiskControl> control, std::uint64_t object, std::uint64_t length)
      : control_(std::move(control)), reserved_(length + DiskControl::kOverhead) {
    ref_.path = control_->directory / (std::to_string(object) + ".blob");
    ref_.length = length;
    ref_.id.object = object;
    out_.open(temporary(), std::ios::binary | std::ios::trunc);
  }
  ~TestWriter() override {
    if (reserved_ == 0) return;
    out_.close();
    std::filesystem::remove(temporary());
    control_->used -= reserved_;
  }

  Status append(std::span<const std::byte> bytes) override {
    control_->write_gate.pass();
    control_->take_memory();
    if (control_->writes_until_failure >= 0 && control_->writes_until_failure-- == 0) {
      control_->writes_until_failure = 0;  // until the test says otherwise
      return fail(Code::kNoSpace, "the disk is full");
    }
    out_.write(reinterpret_cast<const char*>(bytes.data()),
               static_cast<std::streamsize>(bytes.size()));
    return {};
  }

  Result<std::shared_ptr<DiskFile>> finish() override {
    out_.close();
    std::filesystem::rename(temporary(), ref_.path);
    reserved_ = 0;
    return std::make_shared<TestFile>(control_, ref_, true);
  }

 private:
  std::string temporary() const { return ref_.path + ".part"; }

  std::shared_ptr<DiskControl> control_;
  std::uint64_t reserved_;
  FileRef ref_;
  std::ofstream out_;
};

class TestDisk final : public Disk {
 public:
  explicit TestDisk(std::shared_ptr<DiskControl> control) : control_(std::move(control)) {}
  ~TestDisk() override {
    if (control_->on_end) control_->on_end();
  }

  Result<std::unique_ptr<DiskWriter>> create(std::uint64_t object, std::uint64_t length,
                                             std::string_view, bool) override {
    const std::uint64_t bytes = length + DiskControl::kOverhead;
    const std::uint64_t quota = control_->quota;
    if ((control_->used += bytes) > quota && quota != 0) {
      control_->used -= bytes;
      return fail(Code::kNoSpace, "the disk quota has no room");
    }
    ++control_->created;
    return std::make_unique<TestWriter>(control_, object, length);
  }
  std::uint64_t room_bytes() const noexcept override {
    if (control_->quota == 0) return UINT64_MAX;
    const std::uint64_t quota = control_->quota;
    const std::uint64_t used = control_->used;
    return used < quota ? quota - used : 0;
  }
  std::uint64_t overhead_bytes() const noexcept override { return DiskControl::kOverhead; }
  bool may_keep_mapping() const noexcept override {
    return control_->mapped_now < control_->may_be_mapped;
  }
  std::uint64_t used_bytes() const noexcept override { return control_->used; }
  std::uint64_t quota_bytes() const noexcept override { return control_->quota; }

 private:
  std::shared_ptr<DiskControl> control_;
};

}  // namespace

void Gate::close() {
  const std::lock_guard lock(mutex_);
  closed_ = true;
}

void Gate::open() {
  const std::lock_guard lock(mutex_);
  closed_ = false;
  changed_.notify_all();
}

void Gate::pass() {
  std::unique_lock lock(mutex_);
  if (!closed_) return;
  ++waiting_;
  changed_.notify_all();
  changed_.wait_for(lock, kPatience, [this] { return !closed_; });
  --waiting_;
}

bool Gate::wait_for_arrivals(int count) {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, kPatience, [&] { return waiting_ >= count; });
}

DiskControl::DiskControl() {
  std::string name = (std::filesystem::temp_directory_path() / "mempool-store-XXXXXX").string();
  directory = ::mkdtemp(name.data());
}

DiskControl::~DiskControl() {
  std::error_code ignored;
  std::filesystem::remove_all(directory, ignored);
}

void DiskControl::take_memory() const {
  if (out_of_memory) throw std::bad_alloc();
}

std::size_t DiskControl::files() const {
  std::size_t count = 0;
  for ([[maybe_unused]] const auto& file : std::filesystem::directory_iterator(directory)) ++count;
  return count;
}

std::unique_ptr<Disk> make_test_disk(std::shared_ptr<DiskControl> control) {
  return std::make_unique<TestDisk>(std::move(control));
}

std::shared_ptr<DiskFile> make_test_file(std::shared_ptr<DiskControl> control,
                                         const std::string& name,
                                         std::span<const std::byte> bytes) {
  FileRef ref;
  ref.path = control->directory / name;
  ref.length = bytes.size();
  std::ofstream(ref.path, std::ios::binary)
      .write(reinterpret_cast<const char*>(bytes.data()),
             static_cast<std::streamsize>(bytes.size()));
  return std::make_shared<TestFile>(std::move(control), std::move(ref), false);
}

}  // namespace mempool::store::testing
