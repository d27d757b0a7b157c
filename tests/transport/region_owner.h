// A region as a node has it, its door, and readers: owner and readers in this process.
#pragma once

#include <cstring>
#include <memory>
#include <span>
#include <stdexcept>
#include <vector>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include "support/bytes.h"
#include "support/results.h"
#include "transport/io_thread.h"
#include "transport/region_door.h"
#include "transport/shared_regions.h"

namespace mempool::transport {

using namespace std::chrono_literals;

inline constexpr std::size_t kRegionBytes = std::size_t{1} << 20;
inline constexpr SessionId kSession{1, 2};

/// Memory as a node has it: sealed, writable for the one mapping that was there before.
class OwnedRegion {
 public:
  explicit OwnedRegion(int seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE | F_SEAL_SEAL)
      : descriptor_(::memfd_create("region", MFD_CLOEXEC | MFD_ALLOW_SEALING)) {
    if (::ftruncate(descriptor_, kRegionBytes) != 0) throw std::runtime_error("no region");
    void* mapped =
        ::mmap(nullptr, kRegionBytes, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor_, 0);
    if (mapped == MAP_FAILED) throw std::runtime_error("no region");
    if (seals != 0) ::fcntl(descriptor_, F_ADD_SEALS, seals);
    bytes_ = {static_cast<std::byte*>(mapped), kRegionBytes};
  }
  ~OwnedRegion() {
    ::munmap(bytes_.data(), bytes_.size());
    ::close(descriptor_);
  }
  OwnedRegion(const OwnedRegion&) = delete;
  OwnedRegion& operator=(const OwnedRegion&) = delete;

  int descriptor() const { return descriptor_; }

  /// A blob as the store publishes it.
  void put(std::uint64_t offset, const ExpectedBlob& blob, std::span<const std::byte> payload) {
    std::memcpy(bytes_.data() + offset + sizeof(BlobHeader), payload.data(), payload.size());
    BlobHeader header{};
    header.magic = BlobHeader::kMagic;
    header.object = blob.object;
    header.generation = blob.generation;
    header.length = blob.length;
    std::memcpy(bytes_.data() + offset, &header, sizeof header);
  }
  void mark_dead(std::uint64_t offset) {
    __atomic_store_n(&reinterpret_cast<BlobHeader*>(bytes_.data() + offset)->generation,
                     std::uint64_t{0}, __ATOMIC_SEQ_CST);
  }
  void overwrite(std::uint64_t offset, std::size_t bytes) {
    std::memset(bytes_.data() + offset, 0xEE, bytes);
  }

 private:
  int descriptor_;
  std::span<std::byte> bytes_;
};

class RegionOwner : public ::testing::Test {
 protected:
  RegionOwner() { region_.put(kHint.offset, kBlob, test::pattern(kBlob.length)); }
  ~RegionOwner() override {
    if (door_) door_->close();
    io_.stop();
  }

  std::shared_ptr<SharedRegions> reader(const SessionId& session = kSession) {
    door_->admit(session);
    return test::must(attach(session));
  }
  Result<std::shared_ptr<SharedRegions>> attach(const SessionId& session,
                                                const std::vector<std::uint64_t>& bytes = {
                                                    kRegionBytes}) {
    return SharedRegions::attach(door_->name(), session, bytes, 30s);
  }
  std::vector<HazardPlace> held() const {
    std::vector<HazardPlace> places;
    pages_.collect(places);
    return places;
  }

  static constexpr LocationHint kHint{0, 4096, 77};
  static constexpr ExpectedBlob kBlob{5, 77, 10'000};

  OwnedRegion region_;
  HazardPages pages_;
  IoThread io_;
  std::unique_ptr<RegionDoor> door_ =
      test::must(RegionDoor::open(io_, {region_.descriptor()}, pages_));
};

}  // namespace mempool::transport
