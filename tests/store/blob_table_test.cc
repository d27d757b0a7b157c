// The slot map: ids that never come twice, stable entries, and the order of use.
#include "store/blob_table.h"

#include <set>
#include <vector>

#include <gtest/gtest.h>

namespace mempool::store {
namespace {

TEST(BlobTable, C10_AReusedSlotHasANewId) {
  BlobTable table;
  std::set<std::uint64_t> seen;
  for (int i = 0; i < 1000; ++i) {
    Entry* entry = table.acquire();
    ASSERT_NE(entry, nullptr);
    EXPECT_EQ(table.find(entry->id), nullptr);  // a draft
    BlobTable::publish(*entry);
    EXPECT_NE(entry->id, 0U);
    EXPECT_TRUE(seen.insert(entry->id).second);
    EXPECT_EQ(table.find(entry->id), entry);
    const std::uint64_t id = entry->id;
    table.release(*entry);
    EXPECT_EQ(table.find(id), nullptr);
  }
  EXPECT_EQ(table.slots(), 1U);
}

TEST(BlobTable, C10_ASlotWhoseSequenceWouldWrapIsRetired) {
  BlobTable table(0xFFFF'FFFE);
  for (int i = 0; i < 2; ++i) {
    Entry* entry = table.acquire();
    EXPECT_EQ(entry->slot(), 0U);
    table.release(*entry);
  }
  Entry* entry = table.acquire();
  EXPECT_EQ(entry->slot(), 1U);
  EXPECT_EQ(entry->sequence(), 0xFFFF'FFFE);
}

TEST(BlobTable, EntriesStayWhereTheyAre) {
  BlobTable table;
  std::vector<Entry*> entries;
  for (int i = 0; i < 50'000; ++i) {
    entries.push_back(table.acquire());
    BlobTable::publish(*entries.back());
  }
  for (std::uint32_t i = 0; i < entries.size(); ++i) {
    ASSERT_EQ(entries[i]->slot(), i);
    ASSERT_EQ(table.find(entries[i]->id), entries[i]);
  }
  EXPECT_EQ(table.find(0), nullptr);
  EXPECT_EQ(table.find(50'000), nullptr);
  EXPECT_EQ(table.find(UINT64_MAX), nullptr);
}

TEST(BlobTable, ManyTouchesAreInOrderWhateverComesBetween) {
  BlobTable table;
  std::vector<Entry*> expected;  // most recent first
  for (int i = 0; i < 40; ++i) {
    expected.insert(expected.begin(), table.acquire());
    table.push_most_recent(*expected.front());
  }
  const auto touch = [&](std::size_t at) {
    Entry* entry = expected[at];
    table.touch(*entry);
    expected.erase(expected.begin() + static_cast<std::ptrdiff_t>(at));
    expected.insert(expected.begin(), entry);
  };
  for (std::size_t round = 0; round < 400; ++round) {
    for (std::size_t i = 0; i < round % 21; ++i) touch((7 * round + 3 * i) % expected.size());
    if (round % 10 == 3) {  // deleted, right after it was touched
      touch(expected.size() / 2);
      Entry* gone = expected.front();
      expected.erase(expected.begin());
      table.unlink(*gone);
      table.release(*gone);
      Entry* fresh = table.acquire();
      EXPECT_EQ(fresh, gone);
      table.push_least_recent(*fresh);
      expected.push_back(fresh);
    }
    if (round % 3 != 0) continue;
    std::vector<Entry*> order;
    for (Entry* e = table.most_recent(); e != nullptr; e = table.older(*e)) order.push_back(e);
    ASSERT_EQ(order, expected);
  }
}

TEST(BlobTable, TheOrderIsStrict) {
  BlobTable table;
  std::vector<Entry*> entries;
  for (int i = 0; i < 4; ++i) {
    entries.push_back(table.acquire());
    table.push_most_recent(*entries.back());
  }
  const auto order = [&table] {
    std::vector<std::uint32_t> slots;
    for (Entry* e = table.most_recent(); e != nullptr; e = table.older(*e))
      slots.push_back(e->slot());
    std::vector<std::uint32_t> backwards;
    for (Entry* e = table.least_recent(); e != nullptr; e = table.newer(*e))
      backwards.insert(backwards.begin(), e->slot());
    EXPECT_EQ(slots, backwards);
    return slots;
  };
  using Slots = std::vector<std::uint32_t>;
  EXPECT_EQ(order(), (Slots{3, 2, 1, 0}));
  table.touch(*entries[3]);
  EXPECT_EQ(order(), (Slots{3, 2, 1, 0}));
  table.touch(*entries[0]);
  EXPECT_EQ(order(), (Slots{0, 3, 2, 1}));
  table.touch(*entries[2]);
  EXPECT_EQ(order(), (Slots{2, 0, 3, 1}));
  table.unlink(*entries[0]);
  table.unlink(*entries[1]);
  EXPECT_EQ(order(), (Slots{2, 3}));
  table.push_least_recent(*entries[0]);
  EXPECT_EQ(order(), (Slots{2, 3, 0}));
  table.unlink(*entries[2]);
  table.unlink(*entries[3]);
  table.unlink(*entries[0]);
  EXPECT_EQ(order(), Slots{});
  table.push_least_recent(*entries[1]);
  EXPECT_EQ(order(), Slots{1});
}

}  // namespace
}  // namespace mempool::store
