// One-sided reads between two fabrics of this process, over each provider that is here.
#include "transport/fabric.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <thread>

#include <gmock/gmock.h>

#include <mempool/detail/blob_header.h>

#include "support/bytes.h"
#include "support/child.h"
#include "support/eventually.h"
#include "support/rdma.h"
#include "support/results.h"
#include "transport/fabrics.h"
#include "transport/one_sided.h"

namespace mempool::transport {
namespace {

using namespace std::chrono_literals;
using test::code;
using test::message;
using test::must;
using test::pattern;
using test::same;

constexpr std::size_t kMiB = std::size_t{1} << 20;
constexpr std::size_t kRegionBytes = 20 * kMiB;  // more than one message of any provider
constexpr const char* kProviders[] = {"verbs", "net", "tcp", "sockets"};

std::string provider_name(const ::testing::TestParamInfo<const char*>& info) {
  return info.param;
}

class FabricTest : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    const auto present = present_providers();
    if (std::ranges::find(present, GetParam()) == present.end())
      GTEST_SKIP() << "SKIPPED: no provider " << GetParam() << " on this machine";
    if (host().empty()) GTEST_SKIP() << test::kNoRdma;
    memory_ = pattern(kRegionBytes, 1);
    owner_ = must(Fabric::listen(provider(), host()));
    region_ = must(owner_->expose(memory_));
    reader_ = must(Fabric::connect(provider(), host()));
    address_ = must(reader_->insert(owner_->address()));
  }
  // Registrations go before their fabric, buffers before their pool.
  void TearDown() override {
    reader_.reset();
    region_.reset();
    owner_.reset();
  }

  static const Provider& provider() { return *find_provider(GetParam()); }
  static std::string host() { return provider().rdma ? test::rdma_address() : "127.0.0.1"; }
  RemoteRange at(std::uint64_t offset) const {
    return {address_, region_->base() + offset, region_->key()};
  }
  std::span<const std::byte> part(std::size_t offset, std::size_t bytes) const {
    return std::span(memory_).subspan(offset, bytes);
  }
  static std::span<const std::byte> bytes_of(const Buffer& buffer, std::size_t at,
                                             std::size_t bytes) {
    return {buffer.data() + at, bytes};
  }

  test::Bytes memory_;
  BufferPool buffers_;
  std::unique_ptr<Fabric> owner_;
  std::unique_ptr<MemoryRegion> region_;
  std::unique_ptr<Fabric> reader_;
  FabricAddress address_ = 0;
};
INSTANTIATE_TEST_SUITE_P(Over, FabricTest, ::testing::ValuesIn(kProviders), provider_name);

TEST_P(FabricTest, ReadsAnySizeAtAnyPlace) {
  for (std::size_t bytes : {std::size_t{0}, std::size_t{1}, std::size_t{7}, std::size_t{64},
                            std::size_t{4096}, std::size_t{65'537}, kMiB, 17 * kMiB + 3})
    for (std::size_t offset : {std::size_t{0}, std::size_t{1}, std::size_t{4093}}) {
      const auto buffer = must(buffers_.take(bytes + 200));
      must(reader_->read(at(offset), buffer, 64 + offset % 3, bytes, 30s));
      EXPECT_TRUE(same(bytes_of(buffer, 64 + offset % 3, bytes), part(offset, bytes)))
          << bytes << " bytes at " << offset;
    }
}

TEST_P(FabricTest, ReadsTheLastByteOfTheRegion) {
  const auto buffer = must(buffers_.take(1));
  must(reader_->read(at(memory_.size() - 1), buffer, 0, 1, 30s));
  EXPECT_TRUE(same(bytes_of(buffer, 0, 1), part(memory_.size() - 1, 1)));
}

TEST_P(FabricTest, ManyThreadsReadAtOnce) {
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (std::size_t t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      for (std::size_t i = 0; i < (test::kSanitized ? 50U : 300U); ++i) {
        const std::size_t offset = (t * 7919 + i * 104'729) % (4 * kMiB);
        const std::size_t bytes = 1 + (i * 7907) % 100'000;
        auto buffer = buffers_.take(bytes);
        if (!buffer || !reader_->read(at(offset), *buffer, 0, bytes, 60s) ||
            !same(bytes_of(*buffer, 0, bytes), part(offset, bytes)))
          ++wrong;
      }
    });
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
}

TEST_P(FabricTest, WrongKeyIsAnErrorInTimeAndOthersGoOn) {
  const auto buffer = must(buffers_.take(4096));
  must(reader_->read(at(0), buffer, 0, 64, 30s));
  RemoteRange wrong = at(0);
  wrong.key ^= 0x1234;
  const auto begin = std::chrono::steady_clock::now();
  const auto refused = reader_->read(wrong, buffer, 0, 64, 5s);
  EXPECT_TRUE(code(refused) == Code::kUnavailable || code(refused) == Code::kTimeout)
      << message(refused);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, 5s + test::kPatience);
}

TEST_P(FabricTest, DeadPeerIsAnErrorInTime) {
  const auto buffer = must(buffers_.take(kMiB));
  must(reader_->read(at(0), buffer, 0, kMiB, 30s));
  const RemoteRange from = at(0);
  region_.reset();
  owner_.reset();
  const auto begin = std::chrono::steady_clock::now();
  const auto refused = reader_->read(from, buffer, 0, kMiB, 2s);
  EXPECT_TRUE(code(refused) == Code::kUnavailable || code(refused) == Code::kTimeout)
      << message(refused);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, 2s + test::kPatience);
}

/// Not every provider notices by itself.
TEST_P(FabricTest, AReadEndsWhenItsPeerIsKnownToHaveEnded) {
  const auto buffer = must(buffers_.take(kMiB));
  must(reader_->read(at(0), buffer, 0, kMiB, 30s));
  const RemoteRange from = at(0);
  region_.reset();
  owner_.reset();
  std::stop_source ended;
  const std::jthread news([&] { ended.request_stop(); });
  const auto begin = std::chrono::steady_clock::now();
  const auto refused = reader_->read(from, buffer, 0, kMiB, 120s, ended.get_token());
  EXPECT_EQ(code(refused), Code::kUnavailable) << message(refused);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, test::kPatience);
}

/// What a deadline leaves in flight lands in memory that nobody else is given.
TEST_P(FabricTest, BufferIsNotReusedBeforeItsCompletion) {
  constexpr std::size_t kBytes = 8 * kMiB;
  {
    const auto warm = must(buffers_.take(64));
    must(reader_->read(at(0), warm, 0, 64, 30s));
  }
  int late = 0;
  for (int round = 0; round < 20; ++round) {
    BufferBlock* block = nullptr;
    {
      const auto buffer = must(buffers_.take(kBytes));
      block = buffer.block();
      if (reader_->read(at(0), buffer, 0, kBytes, 100us)) continue;
    }
    ++late;
    // Gone from the caller's hands: if the pool hands the block out now, the read is over, and what
    // is written into it stays.
    const auto next = must(buffers_.take(kBytes));
    if (next.block() != block) continue;
    std::memset(next.data(), 0x5A, kBytes);
    must(reader_->read(at(0), must(buffers_.take(64)), 0, 64, 30s));
    for (std::size_t i = 0; i < kBytes; ++i)
      ASSERT_EQ(next.data()[i], std::byte{0x5A}) << "a late read wrote into somebody else's buffer";
  }
  EXPECT_GT(late, 0) << "no read was late: this test shows nothing";
}

TEST_P(FabricTest, EndsWithReadsInFlight) {
  const auto buffer = must(buffers_.take(8 * kMiB));
  (void)reader_->read(at(0), buffer, 0, 8 * kMiB, 50us);
  reader_.reset();
  std::memset(buffer.data(), 1, 8 * kMiB);
}

TEST_P(FabricTest, MalformedAddressesAreRefused) {
  const auto good = owner_->address();
  for (std::size_t size : {std::size_t{0}, std::size_t{1}, std::size_t{8}})
    EXPECT_EQ(code(reader_->insert(std::span(good).first(size))), Code::kProtocol) << size;
}

// ---- verified reads ----

class VerifiedReadTest : public FabricTest {
 protected:
  static constexpr std::uint64_t kLength = 3 * kMiB;

  void publish(std::uint64_t generation) {
    const BlobHeader header{BlobHeader::kMagic, 7, generation, kLength, 0, {}};
    std::memcpy(memory_.data() + 4096, &header, sizeof header);
  }
  RemoteBlob blob(std::uint64_t generation) const { return {at(4096), {7, generation, kLength}}; }
  Verdict read(const RemoteBlob& blob, std::uint64_t offset, std::uint64_t bytes,
               const Buffer& into) {
    return must(VerifiedRead(*reader_, blob, offset, bytes, into).finish(30s));
  }
};
INSTANTIATE_TEST_SUITE_P(Over, VerifiedReadTest, ::testing::ValuesIn(kProviders), provider_name);

TEST_P(VerifiedReadTest, AcceptsTheBlobAndNothingElse) {
  publish(99);
  const auto buffer = must(buffers_.take(kHeaderRoomBytes + kLength));
  EXPECT_EQ(read(blob(99), 0, kLength, buffer), Verdict::kAccepted);
  EXPECT_TRUE(same(bytes_of(buffer, kHeaderRoomBytes, kLength), part(4096 + 64, kLength)));
  EXPECT_EQ(read(blob(99), 1000, 50, buffer), Verdict::kAccepted);
  EXPECT_TRUE(same(bytes_of(buffer, kHeaderRoomBytes, 50), part(4096 + 64 + 1000, 50)));
  EXPECT_EQ(read(blob(99), 0, 0, buffer), Verdict::kAccepted);

  EXPECT_EQ(read(blob(98), 0, 50, buffer), Verdict::kRejected);
  for (auto change : {+[](RemoteBlob& b) { b.expected.object = 8; },
                      +[](RemoteBlob& b) { b.expected.length -= 1; },
                      +[](RemoteBlob& b) { b.header.address += 64; }}) {
    RemoteBlob other = blob(99);
    change(other);
    EXPECT_EQ(read(other, 0, 50, buffer), Verdict::kRejected);
  }
}

TEST_P(VerifiedReadTest, RejectsWhatWasFreedMeanwhile) {
  publish(1);
  publish(2);
  const auto buffer = must(buffers_.take(kHeaderRoomBytes + 100));
  EXPECT_EQ(read(blob(1), 0, 100, buffer), Verdict::kRejected);
  EXPECT_EQ(read(blob(2), 0, 100, buffer), Verdict::kAccepted);
}

}  // namespace
}  // namespace mempool::transport
