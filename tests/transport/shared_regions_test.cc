// A node's memory, read on the same host: copies and views in place.
#include "transport/shared_regions.h"

#include <thread>

#include <gmock/gmock.h>

#include "region_owner.h"
#include "support/child.h"
#include "support/eventually.h"

namespace mempool::transport {
namespace {

using namespace std::chrono_literals;
using test::eventually;
using test::pattern;
using test::same;
using ::testing::Each;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class SharedRegionsTest : public RegionOwner {};

// ---- copies ----

TEST_F(SharedRegionsTest, CopiesWhatTheHeaderShows) {
  const auto shared = reader();
  const auto whole = pattern(kBlob.length);
  test::Bytes out(kBlob.length);
  EXPECT_EQ(shared->copy(kHint, kBlob, 0, out), Verdict::kAccepted);
  EXPECT_TRUE(same(out, whole));
  test::Bytes part(100);
  EXPECT_EQ(shared->copy(kHint, kBlob, kBlob.length - 100, part), Verdict::kAccepted);
  EXPECT_TRUE(same(part, std::span(whole).last(100)));
  EXPECT_EQ(shared->copy(kHint, kBlob, 0, {}), Verdict::kAccepted);
  EXPECT_THAT(held(), IsEmpty()) << "a copy takes no slot";
}

TEST_F(SharedRegionsTest, AnotherBlobIsRejected) {
  const auto shared = reader();
  test::Bytes out(kBlob.length);
  for (const ExpectedBlob& other :
       {ExpectedBlob{6, 77, 10'000}, ExpectedBlob{5, 78, 10'000}, ExpectedBlob{5, 77, 9'999}}) {
    EXPECT_EQ(shared->copy(kHint, other, 0, out), Verdict::kRejected);
    const auto shown = shared->show(kHint, other);
    ASSERT_TRUE(shown);
    EXPECT_EQ(shown->verdict, Verdict::kRejected);
    EXPECT_EQ(shown->view.size(), 0U);
    EXPECT_THAT(held(), IsEmpty()) << "what was not shown holds nothing";
  }
  region_.mark_dead(kHint.offset);
  EXPECT_EQ(shared->copy(kHint, kBlob, 0, out), Verdict::kRejected);
  EXPECT_EQ(shared->show(kHint, kBlob)->verdict, Verdict::kRejected);
}

// ---- views in place ----

TEST_F(SharedRegionsTest, AViewShowsTheOwnersMemoryAndHoldsASlot) {
  const auto shared = reader();
  auto shown = shared->show(kHint, kBlob);
  ASSERT_TRUE(shown);
  ASSERT_EQ(shown->verdict, Verdict::kAccepted);
  EXPECT_TRUE(same(shown->view.bytes(), pattern(kBlob.length)));
  EXPECT_EQ(shown->view.path(), Path::kSharedMemory);
  ASSERT_THAT(held(), SizeIs(1));
  EXPECT_EQ(held()[0].region, 0U);
  EXPECT_EQ(held()[0].offset, kHint.offset);
  // In place: what the owner writes there is seen.
  region_.overwrite(kHint.offset + sizeof(BlobHeader), kBlob.length);
  EXPECT_THAT(shown->view.bytes(), Each(std::byte{0xEE}));
  // Dead, and held all the same.
  region_.mark_dead(kHint.offset);
  EXPECT_THAT(held(), SizeIs(1));
  shown->view.reset();
  EXPECT_THAT(held(), IsEmpty());
}

TEST_F(SharedRegionsTest, WithoutAFreeSlotThereIsNoView) {
  const auto shared = reader();
  std::vector<View> views;
  for (std::size_t i = 0; i < kHazardSlots; ++i) {
    auto shown = shared->show(kHint, kBlob);
    ASSERT_TRUE(shown) << i;
    views.push_back(std::move(shown->view));
  }
  EXPECT_THAT(held(), SizeIs(kHazardSlots));
  EXPECT_FALSE(shared->show(kHint, kBlob));
  test::Bytes out(kBlob.length);
  EXPECT_EQ(shared->copy(kHint, kBlob, 0, out), Verdict::kAccepted);
  // Any slot that becomes free is taken again.
  for (std::size_t i : {std::size_t{0}, std::size_t{63}, std::size_t{64}, kHazardSlots - 1}) {
    views[i].reset();
    EXPECT_THAT(held(), SizeIs(kHazardSlots - 1));
    auto shown = shared->show(kHint, kBlob);
    ASSERT_TRUE(shown) << i;
    views[i] = std::move(shown->view);
  }
  EXPECT_FALSE(shared->show(kHint, kBlob));
  views.clear();
  EXPECT_THAT(held(), IsEmpty());
}

TEST_F(SharedRegionsTest, SlotsAreOfOneReader) {
  const auto first = reader({1, 1});
  const auto second = reader({2, 2});
  std::vector<View> views;
  for (std::size_t i = 0; i < kHazardSlots; ++i)
    views.push_back(std::move(first->show(kHint, kBlob)->view));
  EXPECT_FALSE(first->show(kHint, kBlob));
  EXPECT_TRUE(second->show(kHint, kBlob));
}

TEST_F(SharedRegionsTest, AViewOutlivesReaderAndOwner) {
  auto shared = reader();
  auto shown = shared->show(kHint, kBlob);
  ASSERT_TRUE(shown);
  shared.reset();
  EXPECT_TRUE(same(shown->view.bytes(), pattern(kBlob.length)));
  EXPECT_THAT(held(), SizeIs(1)) << "the last view keeps the socket";
  door_->close();
  EXPECT_TRUE(eventually([&] { return held().empty(); }));
  EXPECT_TRUE(same(shown->view.bytes(), pattern(kBlob.length)));
  shown->view.reset();
}

TEST_F(SharedRegionsTest, TheSlotsGoWithTheLastView) {
  auto shared = reader();
  auto first = shared->show(kHint, kBlob);
  auto second = shared->show(kHint, kBlob);
  ASSERT_TRUE(first && second);
  shared.reset();
  first->view.reset();
  EXPECT_THAT(held(), SizeIs(1));
  EXPECT_TRUE(same(second->view.bytes(), pattern(kBlob.length)));
  second->view.reset();
  EXPECT_THAT(held(), IsEmpty());
}

TEST_F(SharedRegionsTest, AForkedChildLetsGoOfNothing) {
  const auto shared = reader();
  auto shown = shared->show(kHint, kBlob);
  ASSERT_TRUE(shown);
  EXPECT_TRUE(test::in_child([&] { shown->view.reset(); })) << "the child dies of its copy";
  EXPECT_THAT(held(), SizeIs(1)) << "the child ended its parent's view";
  EXPECT_TRUE(same(shown->view.bytes(), pattern(kBlob.length)));
}

TEST_F(SharedRegionsTest, ManyThreadsTakeAndLeaveSlots) {
  const auto shared = reader();
  constexpr int kThreads = 4;
  constexpr int kRounds = test::kSanitized ? 2'000 : 20'000;
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t)
    threads.emplace_back([&, t] {
      std::vector<View> views;
      for (int i = 0; i < kRounds; ++i) {
        auto shown = shared->show(kHint, kBlob);
        ASSERT_TRUE(shown);
        ASSERT_EQ(shown->verdict, Verdict::kAccepted);
        views.push_back(std::move(shown->view));
        if (views.size() > static_cast<std::size_t>(10 + t)) views.clear();
      }
    });
  for (auto& thread : threads) thread.join();
  EXPECT_THAT(held(), IsEmpty());
}

}  // namespace
}  // namespace mempool::transport
