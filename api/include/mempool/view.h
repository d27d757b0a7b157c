// View: a move-only handle that shows the bytes of one blob in place and keeps them there.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <utility>

namespace mempool {

/// The way the bytes of a get came.
enum class Path : std::uint8_t {
  kInProcess,     // pinned in the arena of this process
  kSharedMemory,  // the memory of an owner on this host, mapped: in place, or copied from there;
                  // also a one-sided read over libfabric's shm
  kMappedFile,    // a spill file mapped into this process, or a copy where it has too many
  kRdma,          // one-sided read over an RDMA provider
  kTcp,           // one-sided read over a provider that runs on TCP
  kPush,          // sent by the owner on the control connection
};
inline constexpr std::size_t kPathCount = 6;
std::string_view to_string(Path path) noexcept;

/// While a View lives its bytes stay where they are and as they are, also when the blob is deleted
/// meanwhile: in the owner's memory they are pinned (not evicted, not moved, not reused), in a
/// buffer they are a copy. Only in a mapped file may somebody change them, see
/// docs/spill-format.md. Views must be dropped before their Pool. One thread at a time may use a
/// View; it may be dropped on any thread.
class View {
 public:
  /// Called once when the view ends; never blocks on I/O.
  using Release = void (*)(void* owner, void* item) noexcept;

  View() = default;
  View(std::span<const std::byte> bytes, Path path, Release release, void* owner,
       void* item) noexcept
      : bytes_(bytes), release_(release), owner_(owner), item_(item), path_(path) {}
  View(View&& other) noexcept
      : bytes_(std::exchange(other.bytes_, {})),
        release_(std::exchange(other.release_, nullptr)),
        owner_(other.owner_),
        item_(other.item_),
        path_(other.path_) {}
  View& operator=(View&& other) noexcept {
    if (this != &other) {
      reset();
      bytes_ = std::exchange(other.bytes_, {});
      release_ = std::exchange(other.release_, nullptr);
      owner_ = other.owner_;
      item_ = other.item_;
      path_ = other.path_;
    }
    return *this;
  }
  ~View() { reset(); }

  std::span<const std::byte> bytes() const noexcept { return bytes_; }
  const std::byte* data() const noexcept { return bytes_.data(); }
  std::size_t size() const noexcept { return bytes_.size(); }
  Path path() const noexcept { return path_; }

  void reset() noexcept {
    bytes_ = {};
    if (auto release = std::exchange(release_, nullptr)) release(owner_, item_);
  }

 private:
  std::span<const std::byte> bytes_;
  Release release_ = nullptr;
  void* owner_ = nullptr;
  void* item_ = nullptr;
  Path path_ = Path::kInProcess;
};

}  // namespace mempool
