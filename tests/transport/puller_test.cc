// A Puller and the memory of a writer, over each provider that is here.
#include "transport/puller.h"

#include <algorithm>
#include <thread>

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "support/bytes.h"
#include "support/eventually.h"
#include "support/rdma.h"
#include "support/results.h"

namespace mempool::transport {
namespace {

using test::code;
using test::must;
using test::same;

class PullerTest : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    const auto present = present_providers();
    if (std::ranges::find(present, GetParam()) == present.end())
      GTEST_SKIP() << "SKIPPED: no provider " << GetParam() << " on this machine";
    if (host().empty()) GTEST_SKIP() << test::kNoRdma;
    must(owner_.listen(host(), {}, true));
    memory_ = must(writer_.source(*must(writer_.reach(provider(), host()))));
    const auto bytes = test::pattern(SourceMemory::kBytes, 1);
    std::ranges::copy(bytes, memory_.memory->bytes().begin());
  }
  void TearDown() override { puller_.close(); }

  static const Provider& provider() { return *find_provider(GetParam()); }
  static std::string host() { return provider().rdma ? test::rdma_address() : "127.0.0.1"; }
  Result<Puller::SourcePtr> admit(const ProviderOffer& offer) {
    return puller_.admit(offer, SourceMemory::kBytes, host());
  }

  BufferPool buffers_;
  Fabrics owner_{{&provider()}};
  Fabrics writer_{{&provider()}};
  Puller puller_{owner_, buffers_};
  Fabrics::Source memory_{};
};
INSTANTIATE_TEST_SUITE_P(Over, PullerTest, ::testing::Values("verbs", "net", "tcp", "sockets"),
                         [](const auto& test) { return std::string(test.param); });

TEST_P(PullerTest, ReadsAnyPartOfTheSource) {
  const auto source = must(admit(memory_.offer));
  for (std::uint64_t offset : {std::uint64_t{0}, std::uint64_t{1}, SourceMemory::kBytes - 4096})
    for (std::uint64_t bytes : {1, 4095, 4096}) {
      const auto part = must(puller_.read(*source, offset, bytes));
      EXPECT_TRUE(same({part.data(), bytes}, memory_.memory->bytes().subspan(offset, bytes)));
    }
  const auto part = must(puller_.read(*source, kPullPartBytes, kPullPartBytes));
  EXPECT_TRUE(same({part.data(), kPullPartBytes},
                   memory_.memory->bytes().subspan(kPullPartBytes, kPullPartBytes)));
}

TEST_P(PullerTest, MemoryIsRegisteredOnce) {
  const auto again = must(writer_.source(*must(writer_.reach(provider(), host()))));
  EXPECT_EQ(again.memory, memory_.memory);
  EXPECT_EQ(again.offer.keys, memory_.offer.keys);
}

TEST_P(PullerTest, PartsOutsideTheSourceAreRefused) {
  const auto source = must(admit(memory_.offer));
  const auto refused = [&](std::uint64_t offset, std::uint64_t bytes) {
    return code(puller_.read(*source, offset, bytes)) == Code::kInvalidArgument;
  };
  EXPECT_TRUE(refused(0, kPullPartBytes + 1));
  EXPECT_TRUE(refused(0, ~0ULL));
  EXPECT_TRUE(refused(SourceMemory::kBytes, 1));
  EXPECT_TRUE(refused(SourceMemory::kBytes - 1, 2));
  EXPECT_TRUE(refused(~0ULL, 1));
  EXPECT_TRUE(refused(~0ULL, ~0ULL));
  must(puller_.read(*source, 0, 1));
}

TEST_P(PullerTest, OnlySourcesOfTheSessionsHostAreAdmitted) {
  auto offer = memory_.offer;
  EXPECT_EQ(code(puller_.admit(offer, 1, "192.0.2.1")), Code::kInvalidArgument);
  EXPECT_EQ(code(puller_.admit(offer, 1, "")), Code::kInvalidArgument);
  offer.address[4] ^= std::byte{1};  // the host, in an IPv4 socket address
  EXPECT_EQ(code(admit(offer)), Code::kInvalidArgument);
  for (std::size_t size : {0, 1, 8, 15, 17, 28}) {
    offer.address.assign(size, std::byte{2});
    EXPECT_EQ(code(admit(offer)), Code::kInvalidArgument) << size;
  }
  offer = memory_.offer;
  offer.name = "nothing";
  EXPECT_EQ(code(admit(offer)), Code::kNoProvider);
  offer = memory_.offer;
  offer.keys.clear();
  EXPECT_EQ(code(admit(offer)), Code::kInvalidArgument);
  offer.keys = {1, 2};
  EXPECT_EQ(code(admit(offer)), Code::kInvalidArgument);
}

TEST_P(PullerTest, WrongKeyIsAnErrorAndTheSourceIsNotReadAgain) {
  auto offer = memory_.offer;
  offer.keys.front() ^= 0x1234;
  const auto source = must(admit(offer));
  EXPECT_EQ(code(puller_.read(*source, 0, 4096)), Code::kUnavailable);
  const auto begin = test::Clock::now();
  EXPECT_EQ(code(puller_.read(*source, 0, 4096)), Code::kUnavailable);
  EXPECT_LT(test::Clock::now() - begin, Puller::kPatience) << "it was tried again";
}

/// Somebody who takes connections and says nothing: the reads wait, and are not more than they may
/// be.
TEST_P(PullerTest, SilentSourcesAreWaitedForByAFewOnly) {
  if (provider().rdma) GTEST_SKIP() << "SKIPPED: a silent RDMA device is not to be had";
  const int silent = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof at;
  ASSERT_EQ(::bind(silent, reinterpret_cast<sockaddr*>(&at), size), 0);
  ASSERT_EQ(::listen(silent, 16), 0);
  ASSERT_EQ(::getsockname(silent, reinterpret_cast<sockaddr*>(&at), &size), 0);
  auto offer = memory_.offer;
  std::memcpy(offer.address.data(), &at, sizeof at);
  std::vector<Code> codes(Puller::kReads + 3, Code::kOk);
  std::vector<std::thread> threads;
  const auto begin = test::Clock::now();
  for (auto& got : codes)
    threads.emplace_back(
        [&got, source = must(admit(offer)), this] { got = code(puller_.read(*source, 0, 4096)); });
  for (auto& thread : threads) thread.join();
  EXPECT_LT(test::Clock::now() - begin, Puller::kPatience + test::kPatience);
  ::close(silent);
  EXPECT_EQ(std::ranges::count(codes, Code::kLimit), 3);
  EXPECT_EQ(std::ranges::count(codes, Code::kUnavailable), Puller::kReads);
  // Those that could not even be posted are over; the rest are the fabric's until they end.
  const auto source = must(admit(memory_.offer));
  EXPECT_TRUE(test::eventually([&] { return puller_.read(*source, 0, 1).has_value(); }));
}

TEST(SourceMemory, SlotsAreLentOnceAndComeBack) {
  const auto memory = must(SourceMemory::make());
  auto a = memory->take();
  auto b = memory->take();
  ASSERT_TRUE(a && b);
  EXPECT_FALSE(memory->take());
  EXPECT_EQ(a->part(0).data(), memory->bytes().data() + a->offset_of(0));
  EXPECT_NE(a->offset_of(0), b->offset_of(0));
  a.reset();
  EXPECT_TRUE(memory->take());
}

}  // namespace
}  // namespace mempool::transport
