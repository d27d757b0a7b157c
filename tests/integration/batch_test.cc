// Many operations at once, gets that are started and waited for later, and Buffers.
#include <chrono>

#include "cluster_fixture.h"

namespace mempool::test {
namespace {

using ::testing::SizeIs;
using namespace std::chrono_literals;

std::vector<std::span<const std::byte>> spans_of(const std::vector<Bytes>& blobs) {
  return {blobs.begin(), blobs.end()};
}

class BatchTest : public ClusterTest, public ::testing::WithParamInterface<const char*> {
 protected:
  Pool client_of(const Daemon& node) {
    const std::string over = GetParam();
    return connect(node, {over == "best" ? best_tcp_provider() : over});
  }
};
INSTANTIATE_TEST_SUITE_P(Over, BatchTest, ::testing::Values("shared", "best", "sockets", "push"),
                         [](const auto& over) { return std::string(over.param); });

TEST_P(BatchTest, SetsAndGetsOfAnyNumberOfOwnersComeBackInOrder) {
  Daemon a(spill_directory("a"));
  Daemon b(spill_directory("b"), {"--join", a.address()});
  auto client = client_of(a);
  std::vector<Bytes> blobs;
  for (std::uint64_t i = 0; i < 150; ++i) blobs.push_back(pattern(i * i * 7, i));
  blobs.push_back(pattern(3 * kMiB, 150));  // goes in parts

  const auto on_a = client.poolset_all(spans_of(blobs), {.node = a.node_id()});
  ASSERT_TRUE(eventually([&] { return client.stats(b.node_id()).has_value(); }));
  const auto on_b = client.poolset_all(spans_of(blobs), {.node = b.node_id()});
  ASSERT_THAT(on_a, SizeIs(blobs.size()));
  ASSERT_THAT(on_b, SizeIs(blobs.size()));
  std::vector<DRef> refs;
  for (std::size_t i = 0; i < blobs.size(); ++i) {
    refs.push_back(must(Result<DRef>(on_a[i])));
    refs.push_back(must(Result<DRef>(on_b[i])));
  }
  must(client.pooldelete(refs[10]));

  const auto views = client.poolget_all(refs);
  ASSERT_THAT(views, SizeIs(refs.size()));
  for (std::size_t i = 0; i < refs.size(); ++i) {
    if (i == 10) {
      EXPECT_EQ(code(views[i]), Code::kNotFound);
      continue;
    }
    ASSERT_TRUE(views[i].has_value()) << i << ": " << views[i].error().to_string();
    EXPECT_TRUE(same(views[i]->bytes(), blobs[i / 2])) << i;
  }
}

TEST_P(BatchTest, AGetIsStartedAndWaitedForLater) {
  Daemon node(spill_directory("a"));
  auto client = client_of(node);
  const auto first = set(client, 1), second = set(client, 2);
  auto early = client.poolget_async(first);
  auto late = client.poolget_async(second);
  EXPECT_TRUE(same(must(late.wait()).bytes(), pattern(kMiB, 2)));
  EXPECT_TRUE(same(must(early.wait()).bytes(), pattern(kMiB, 1)));
  EXPECT_EQ(code(early.wait()), Code::kClosed);
  DRef other_cluster = first;
  ++other_cluster.id.cluster;
  EXPECT_EQ(code(client.poolget_async(other_cluster).wait()), Code::kWrongCluster);
}

TEST_P(BatchTest, ACancelledGetDisturbsNobody) {
  Daemon node(spill_directory("a"));
  auto client = client_of(node);
  std::vector<DRef> refs;
  for (std::uint64_t i = 0; i < 20; ++i) refs.push_back(set(client, i));
  for (int round = 0; round < 5; ++round) {
    std::vector<PendingView> dropped;
    for (const auto& ref : refs) dropped.push_back(client.poolget_async(ref));
  }
  for (std::uint64_t i = 0; i < refs.size(); ++i) EXPECT_TRUE(holds(client, refs[i], i));
}

TEST_P(BatchTest, ABufferIsUsedAgainAndAgain) {
  Daemon node(spill_directory("a"));
  auto client = client_of(node);
  auto buffer = must(client.buffer(2 * kMiB));
  ASSERT_GE(buffer.bytes().size(), 2 * kMiB);
  const auto* place = buffer.bytes().data();
  for (std::uint64_t i = 0; i < 10; ++i) {
    const auto ref = set(client, i, i * 100'000);
    must(client.poolget(ref, buffer));
    EXPECT_TRUE(same(buffer.bytes().first(ref.length), pattern(ref.length, i)));
    EXPECT_EQ(buffer.bytes().data(), place);
  }
  const auto large = set(client, 77, 5 * kMiB);
  EXPECT_EQ(code(client.poolget(large, buffer)), Code::kInvalidArgument);
  Buffer none;
  EXPECT_EQ(code(client.poolget(large, none)), Code::kInvalidArgument);
  // Another handle keeps the bytes when the first is gone.
  const Buffer kept = buffer;
  buffer = Buffer();
  EXPECT_TRUE(same(kept.bytes().first(900'000), pattern(900'000, 9)));
}

TEST_F(PausedOwnerTest, AStartedGetKeepsItsDeadline) {
  node_.pause();
  const auto begin = std::chrono::steady_clock::now();
  auto pending = client_.poolget_async(ref_, {.timeout_ms = 600});
  EXPECT_EQ(code(pending.wait()), Code::kTimeout);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, kPatience) << "the client's own is longer";
  node_.resume();
  EXPECT_TRUE(is_read_again());
}

TEST_F(PausedOwnerTest, GetsThatWereStartedTogetherKeepTheirDeadline) {
  const std::vector<DRef> refs(32, ref_);
  node_.pause();
  const auto begin = std::chrono::steady_clock::now();
  for (const auto& view : client_.poolget_all(refs, {.timeout_ms = 1500}))
    EXPECT_EQ(code(view), Code::kTimeout);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, kPatience)
      << "each has the same second and a half";
  node_.resume();
  EXPECT_TRUE(is_read_again());
}

TEST(Batch, OfAPrivatePool) {
  TemporaryDirectory directory;
  PoolOptions options;
  options.spill_dir = directory / "spill";
  auto pool = must(Pool::open(options));
  const std::vector<Bytes> blobs{pattern(10, 1), pattern(0, 2), pattern(5000, 3)};
  std::vector<DRef> refs;
  for (auto& ref : pool.poolset_all(spans_of(blobs))) refs.push_back(must(std::move(ref)));
  const auto views = pool.poolget_all(refs);
  for (std::size_t i = 0; i < blobs.size(); ++i) EXPECT_TRUE(same(views[i]->bytes(), blobs[i]));
  auto buffer = must(pool.buffer(5000));
  must(pool.poolget(refs[2], buffer));
  EXPECT_TRUE(same(buffer.bytes().first(5000), blobs[2]));
}

}  // namespace
}  // namespace mempool::test
