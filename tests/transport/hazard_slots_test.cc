// The owner's side of hazard slots: what a slot's word means, and pages that a stranger may write.
#include "transport/hazard_slots.h"

#include <cerrno>

#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "support/bytes.h"
#include "support/results.h"

namespace mempool::transport {
namespace {

using test::must;
using ::testing::IsEmpty;
using ::testing::SizeIs;

TEST(HazardPlace, AWordAndBack) {
  constexpr std::uint64_t kLargest = (std::uint64_t{1} << 46) - 64;
  for (std::uint32_t region : {0U, 1U, 15U, 255U})
    for (std::uint64_t offset : {std::uint64_t{0}, std::uint64_t{64}, kLargest}) {
      const auto word = HazardPlace{region, offset}.word();
      EXPECT_NE(word, 0U) << "0 is an empty slot";
      const auto back = HazardPlace::of_word(word);
      ASSERT_TRUE(back);
      EXPECT_EQ(back->region, region);
      EXPECT_EQ(back->offset, offset);
    }
}

TEST(HazardPlace, DifferentPlacesAreDifferentWords) {
  EXPECT_NE((HazardPlace{0, 0}.word()), (HazardPlace{0, 64}.word()));
  EXPECT_NE((HazardPlace{0, 0}.word()), (HazardPlace{1, 0}.word()));
}

TEST(HazardPlace, NoPlaceInAnEmptySlot) {
  EXPECT_FALSE(HazardPlace::of_word(0));
  // A region without a place in it.
  EXPECT_FALSE(HazardPlace::of_word(std::uint64_t{7} << HazardPlace::kRegionShift));
}

/// A page as its reader has it: by the descriptor alone.
class ReadersPage {
 public:
  explicit ReadersPage(int descriptor) : descriptor_(::dup(descriptor)) {
    void* mapped =
        ::mmap(nullptr, sizeof(HazardPage), PROT_READ | PROT_WRITE, MAP_SHARED, descriptor_, 0);
    if (mapped == MAP_FAILED) throw std::runtime_error("a reader cannot map its slots");
    page_ = static_cast<HazardPage*>(mapped);
  }
  ~ReadersPage() {
    ::munmap(page_, sizeof *page_);
    ::close(descriptor_);
  }
  HazardPage& operator*() { return *page_; }
  HazardPage* operator->() { return page_; }
  int descriptor() const { return descriptor_; }

 private:
  int descriptor_;
  HazardPage* page_;
};

std::vector<HazardPlace> collected(const HazardPages& pages) {
  std::vector<HazardPlace> held;
  pages.collect(held);
  return held;
}

TEST(HazardPages, AFreshPageIsEmpty) {
  HazardPages pages;
  EXPECT_THAT(collected(pages), IsEmpty());
  const auto page = must(pages.make_page());
  EXPECT_THAT(collected(pages), IsEmpty());
  ReadersPage reader(page->descriptor());
  for (const auto& slot : reader->slots) EXPECT_EQ(slot.load(), 0U);
}

TEST(HazardPages, TheOwnerSeesEverySlotOfEveryReader) {
  HazardPages pages;
  const auto first = must(pages.make_page());
  const auto second = must(pages.make_page());
  ReadersPage a(first->descriptor());
  ReadersPage b(second->descriptor());
  a->slots.front() = HazardPlace{0, 128}.word();
  b->slots.back() = HazardPlace{3, 64}.word();
  const auto held = collected(pages);
  ASSERT_THAT(held, SizeIs(2));
  EXPECT_EQ(held[0].offset, 128U);
  EXPECT_EQ(held[1].region, 3U);
  EXPECT_EQ(held[1].offset, 64U);
  a->slots.front() = 0;
  EXPECT_THAT(collected(pages), SizeIs(1));
}

TEST(HazardPages, APageThatEndedCountsNoMore) {
  HazardPages pages;
  auto page = must(pages.make_page());
  auto other = must(pages.make_page());
  ReadersPage reader(page->descriptor());
  for (auto& slot : reader->slots) slot = HazardPlace{0, 64}.word();
  EXPECT_THAT(collected(pages), SizeIs(kHazardSlots));
  page.reset();
  EXPECT_THAT(collected(pages), IsEmpty());
  // The reader may go on writing what nobody looks at.
  for (auto& slot : reader->slots) slot = ~0ULL;
  EXPECT_THAT(collected(pages), IsEmpty());
}

TEST(HazardPages, WhateverAStrangerWritesIsAPlaceOrNothing) {
  HazardPages pages;
  const auto page = must(pages.make_page());
  ReadersPage reader(page->descriptor());
  for (std::uint64_t round = 0; round < 100; ++round) {
    for (std::size_t i = 0; i < kHazardSlots; ++i) reader->slots[i] = test::pattern_word(round, i);
    for (const auto& place : collected(pages)) {
      EXPECT_EQ(place.offset % 64, 0U);
      EXPECT_LT(place.region, 256U);
    }
  }
  for (auto& slot : reader->slots) slot = ~0ULL;
  EXPECT_THAT(collected(pages), SizeIs(kHazardSlots));
}

/// A page that a reader could cut off would be a SIGBUS in the owner.
TEST(HazardPages, AReaderCannotChangeThePagesSize) {
  HazardPages pages;
  const auto page = must(pages.make_page());
  ReadersPage reader(page->descriptor());
  for (off_t size : {off_t{0}, off_t{1}, off_t{sizeof(HazardPage)} - 1, off_t{1} << 20}) {
    EXPECT_EQ(::ftruncate(reader.descriptor(), size), -1) << size;
    EXPECT_EQ(errno, EPERM);
  }
  // Nor give it another seal, nor take its bytes away.
  EXPECT_EQ(::fcntl(reader.descriptor(), F_ADD_SEALS, F_SEAL_WRITE), -1);
  const int hole = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
  reader->slots[0] = HazardPlace{0, 64}.word();
  (void)::fallocate(reader.descriptor(), hole, 0, sizeof(HazardPage));
  EXPECT_THAT(collected(pages).size(), ::testing::Le(1U));
  struct stat status {};
  ASSERT_EQ(::fstat(page->descriptor(), &status), 0);
  EXPECT_EQ(status.st_size, off_t{sizeof(HazardPage)});
}

}  // namespace
}  // namespace mempool::transport
