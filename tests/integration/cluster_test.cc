// References, sets and gets across nodes, over each way to them; the limits of a node seen from
// others.
#include <atomic>
#include <thread>
#include <unordered_map>

#include <sys/resource.h>

#include "cluster_fixture.h"

namespace mempool::test {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

INSTANTIATE_TEST_SUITE_P(Over, ProviderTest,
                         ::testing::Values("best", "sockets", "verbs", "shared", "push"),
                         provider_name);

TEST_P(ProviderTest, C1_WhatIsSetReadsBackEqual) {
  Daemon node(spill_directory("a"), only());
  EXPECT_EQ(node.providers(), over_a_fabric() ? Words{provider()} : Words{});
  auto client = client_of(node);
  std::uint64_t gets = 0;
  for (std::uint64_t size : std::initializer_list<std::uint64_t>{0, 1, 7, 64, 65, 4096, 65'537,
                                                                 kMiB, kMiB + 1, 10 * kMiB + 3}) {
    const auto ref = set(client, size, size);
    EXPECT_EQ(ref.id.node, node.node_id());
    const auto view = must(client.poolget(ref));
    EXPECT_TRUE(same(view.bytes(), pattern(size, size))) << size << " bytes";
    EXPECT_EQ(view.path(), kind());
    EXPECT_EQ(gets_by(client, path()), ++gets);
    EXPECT_EQ(must(client.inspect(ref)).path, path());
    // A range in the middle.
    if (size < 3) continue;
    Bytes part(size / 3);
    must(client.poolread(ref, size / 3, part));
    const auto whole = pattern(size, size);
    EXPECT_TRUE(same(part, std::span(whole).subspan(size / 3, part.size())));
    EXPECT_EQ(gets_by(client, path()), ++gets);
  }
}

TEST_P(ProviderTest, C2_SetOnAnotherNodeReadsBackAndNamesItsOwner) {
  Daemon b(spill_directory("b"), only());
  auto a = node_here(b);
  const auto ref = set(a, 7, 3 * kMiB, {.node = b.node_id()});
  EXPECT_EQ(ref.id.node, b.node_id());
  EXPECT_NE(ref.id.node, a.self().id);
  const auto view = must(a.poolget(ref));
  EXPECT_TRUE(same(view.bytes(), pattern(3 * kMiB, 7)));
  EXPECT_EQ(view.path(), kind());
  EXPECT_EQ(gets_by(a, path()), 1U);

  // And the other way: B's clients reach a blob of A's through the cluster.
  const auto mine = set(a, 8);
  auto client = client_of(b);
  EXPECT_TRUE(holds(client, mine, 8));
  EXPECT_EQ(gets_by(client, path()), 1U);
}

TEST_P(ProviderTest, C5_ReferenceTravelsAsText) {
  Daemon node(spill_directory("a"), only());
  auto writer = client_of(node);
  auto reader = client_of(node);
  const auto ref = set(writer, 1);
  const auto parsed = must(DRef::parse(ref.to_string()));
  EXPECT_EQ(parsed, ref);
  std::unordered_map<DRef, int> map{{ref, 1}};
  EXPECT_EQ(map.count(parsed), 1U);
  EXPECT_TRUE(holds(reader, parsed, 1));
}

TEST_P(ProviderTest, C7_UnknownAndDeletedAreTheSameNotFoundEverywhere) {
  Daemon node(spill_directory("a"), only());
  auto a = node_here(node);
  const auto local = set(a, 1);
  const auto remote = set(a, 1, kMiB, {.node = node.node_id()});
  must(a.pooldelete(local));
  must(a.pooldelete(remote));
  DRef unknown = remote;
  unknown.id.object = 987'654'321;
  unknown.hint = {};
  for (const auto& ref : {local, remote, unknown}) {
    Bytes out(1);
    EXPECT_EQ(code(a.poolget(ref)), Code::kNotFound);
    EXPECT_EQ(code(a.poolread(ref, 0, out)), Code::kNotFound);
    EXPECT_EQ(code(a.pooldelete(ref)), Code::kNotFound);
    EXPECT_EQ(code(a.inspect(ref)), Code::kNotFound);
    EXPECT_EQ(code(a.movetodisk(ref)), Code::kNotFound);
    EXPECT_EQ(code(a.copytodisk(ref)), Code::kNotFound);
    EXPECT_EQ(code(a.prefetch(ref)), Code::kNotFound);
    EXPECT_EQ(code(a.savetodisk(ref, directory_ / "saved")), Code::kNotFound);
  }
}

TEST_P(ProviderTest, C7_DeletedAndReusedMemoryIsNeverRead) {
  Daemon node(spill_directory("a"), {.arguments = only(), .max_memsize = "4MiB"});
  auto client = client_of(node);
  std::vector<DRef> old;
  for (std::uint64_t i = 0; i < 64; ++i) old.push_back(set(client, i, kMiB / 16));
  for (const auto& ref : old) must(client.pooldelete(ref));
  ASSERT_TRUE(eventually([&] { return store_stats(client).quarantined_bytes == 0; }));
  // Out of quarantine the memory is reused, while the old references still point at it.
  int reused = 0;
  for (std::uint64_t i = 0; i < 64; ++i) {
    const auto next = set(client, 1000 + i, kMiB / 16);
    EXPECT_TRUE(holds(client, next, 1000 + i));
    for (const auto& ref : old) {
      if (ref.hint.offset >= next.hint.offset + next.length ||
          next.hint.offset >= ref.hint.offset + ref.length)
        continue;
      ++reused;
      EXPECT_EQ(code(client.poolget(ref)), Code::kNotFound);
    }
  }
  EXPECT_GT(reused, 0) << "nothing was reused: this test shows nothing";
}

TEST_P(ProviderTest, C8_AllSetOptionsTravel) {
  Daemon node(spill_directory("a"), {.arguments = only(), .max_memsize = "4MiB"});
  auto client = client_of(node);
  // Small ones go in one message, large ones in parts.
  for (std::uint64_t size : {kMiB / 4, 2 * kMiB}) {
    const auto dropped = set(client, 1, size, {.type_name = "Café\t✓", .drop_on_evict = true});
    auto info = must(client.inspect(dropped));
    EXPECT_EQ(info.type_name, "Café\t✓");
    EXPECT_TRUE(info.drop_on_evict);
    EXPECT_FALSE(info.retain);
    EXPECT_EQ(info.ref.length, size);

    const auto retained = set(client, 2, size, {.retain = true});
    EXPECT_TRUE(must(client.inspect(retained)).retain);
    const auto file = must(client.movetodisk(retained));
    must(client.pooldelete(retained));
    EXPECT_TRUE(fs::exists(file.path));

    set(client, 3, 4 * kMiB);
    EXPECT_EQ(code(client.poolget(dropped)), Code::kNotFound);
    EXPECT_EQ(code(client.poolset({}, {.type_name = std::string(kMaxTypeNameBytes + 1, 'x')})),
              Code::kInvalidArgument)
        << "its file could not be written when it has to be";
  }
}

TEST_P(ProviderTest, C9_SetThatFailsLeavesNothing) {
  auto arguments = only();
  arguments.insert(arguments.end(), {"--max-disksize", "1MiB"});
  Daemon node(spill_directory("a"), {.arguments = arguments, .max_memsize = "2MiB"});
  auto client = client_of(node);
  EXPECT_EQ(code(client.poolset(pattern(10 * kMiB))), Code::kNoSpace);
  EXPECT_EQ(code(client.poolset(pattern(3 * kMiB))), Code::kNoSpace);
  expect_empty(client, node);
}

TEST_P(ProviderTest, C10_EarlierLifeIsStale) {
  const auto port = std::to_string(fixed_port());
  DRef ref;
  {
    Daemon node(spill_directory("a"), only(port));
    auto client = client_of(node);
    ref = set(client, 1);
    EXPECT_TRUE(holds(client, ref, 1));
  }
  Daemon again(spill_directory("a"), only(port));
  auto client = client_of(again);
  const auto fresh = set(client, 2);
  EXPECT_EQ(fresh.id.node, ref.id.node);
  const auto stale = client.poolget(ref);
  EXPECT_EQ(code(stale), Code::kStaleReference) << message(stale);
  EXPECT_EQ(code(client.pooldelete(ref)), Code::kStaleReference);
  EXPECT_EQ(code(client.inspect(ref)), Code::kStaleReference);
  EXPECT_TRUE(holds(client, fresh, 2));
}

TEST_P(ProviderTest, C10_ClientThatSawTheEarlierLifeGoesOnWithTheNext) {
  const auto port = std::to_string(fixed_port());
  auto node = std::make_unique<Daemon>(spill_directory("a"), only(port));
  auto client = client_of(*node);
  const auto ref = set(client, 1);
  EXPECT_TRUE(holds(client, ref, 1));
  node->kill9();
  node = std::make_unique<Daemon>(spill_directory("a"), only(port));
  // The client may not have noticed yet: it says Unavailable, never other bytes.
  Result<View> got = fail(Code::kOk, "");
  EXPECT_TRUE(eventually([&] {
    got = client.poolget(ref);
    return code(got) != Code::kUnavailable;
  }));
  EXPECT_EQ(code(got), Code::kStaleReference) << message(got);
  const auto fresh = set(client, 2);
  EXPECT_TRUE(holds(client, fresh, 2));
}

TEST_P(ProviderTest, ForgedReferencesGiveTheRightBytesOrAnError) {
  Daemon node(spill_directory("a"), only());
  auto client = client_of(node);
  const auto ref = set(client, 1, 10'000);
  const auto other = set(client, 2, 10'000);
  for (LocationHint hint :
       {LocationHint{}, LocationHint{0, 0, 1}, LocationHint{0, ~0ULL, 1},
        LocationHint{0, ~0ULL - 63, ref.hint.generation}, LocationHint{77, 0, 1},
        LocationHint{0, std::uint64_t{1} << 40, ref.hint.generation},
        LocationHint{0, ref.hint.offset + 64, ref.hint.generation},
        LocationHint{0, ref.hint.offset, ref.hint.generation + 1},
        LocationHint{0, other.hint.offset, other.hint.generation},
        LocationHint{0, other.hint.offset, ref.hint.generation}}) {
    DRef forged = ref;
    forged.hint = hint;
    EXPECT_TRUE(holds(client, forged, 1));
  }
  for (std::uint64_t length :
       {0ULL, 9'999ULL, 10'001ULL, 1ULL << 30, 1ULL << 50, ~0ULL, ~0ULL - 64}) {
    DRef forged = ref;
    forged.length = length;
    const auto view = client.poolget(forged);
    EXPECT_FALSE(view) << length;
    EXPECT_FALSE(message(view).empty());
  }
  DRef nowhere = ref;
  nowhere.id.node += 1;
  EXPECT_EQ(code(client.poolget(nowhere)), Code::kUnavailable);
  DRef foreign = ref;
  foreign.id.cluster += 1;
  EXPECT_EQ(code(client.poolget(foreign)), Code::kWrongCluster);
  DRef earlier = ref;
  earlier.id.incarnation += 1;
  EXPECT_EQ(code(client.poolget(earlier)), Code::kStaleReference);
  EXPECT_TRUE(holds(client, ref, 1));
}

TEST_P(ProviderTest, RangesOutsideTheBlobAreRefused) {
  Daemon node(spill_directory("a"), only());
  auto client = client_of(node);
  const auto ref = set(client, 1, 100);
  Bytes out(10);
  must(client.poolread(ref, 90, out));
  for (std::uint64_t offset : {91ULL, 101ULL, ~0ULL, ~0ULL - 5})
    EXPECT_EQ(code(client.poolread(ref, offset, out)), Code::kInvalidArgument) << offset;
}

// ---- the owner's memory, seen from elsewhere ----

TEST_P(ProviderTest, C42_FreshBlobIsInMemoryAndNotOnDisk) {
  Daemon node(spill_directory("a"), only());
  auto client = client_of(node);
  const auto info = must(client.inspect(set(client, 1)));
  EXPECT_TRUE(info.in_memory);
  EXPECT_FALSE(info.on_disk);
  EXPECT_EQ(info.file, "");
}

TEST_P(ProviderTest, C63_LeastRecentlyUsedGoesToDisk) {
  Daemon node(spill_directory("a"), {.arguments = only(), .max_memsize = "3MiB"});
  auto client = client_of(node);
  const auto a = set(client, 1), b = set(client, 2), c = set(client, 3), d = set(client, 4);
  EXPECT_THAT(where_are(client, {a, b, c, d}), ElementsAre("disk", "memory", "memory", "memory"));
  EXPECT_EQ(store_stats(client).evictions, 1U);
  EXPECT_TRUE(holds(client, a, 1));
  EXPECT_TRUE(holds(client, d, 4));
}

TEST_P(ProviderTest, C65_ReadingInMemoryMakesMostRecentAndMovesNothing) {
  Daemon node(spill_directory("a"), {.arguments = only(), .max_memsize = "3MiB"});
  auto client = client_of(node);
  const auto a = set(client, 1), b = set(client, 2), c = set(client, 3);
  Bytes part(1);
  must(client.poolread(b, 0, part));
  EXPECT_TRUE(holds(client, a, 1));
  EXPECT_THAT(where_are(client, {a, b, c}), ElementsAre("memory", "memory", "memory"));
  // Who reads without the owner's knowing tells it, some time soon.
  EXPECT_TRUE(eventually([&] { return !unseen() || must(client.stats()).recency_reports > 0; }));
  set(client, 4);
  EXPECT_THAT(where_are(client, {a, b, c}), ElementsAre("memory", "memory", "disk"));
  EXPECT_EQ(store_stats(client).evictions, 1U);
}

TEST_P(ProviderTest, C65_PeekingChangesNothing) {
  Daemon node(spill_directory("a"), {.arguments = only(), .max_memsize = "3MiB"});
  auto client = client_of(node);
  const auto a = set(client, 1), b = set(client, 2), c = set(client, 3);
  must(client.poolget(a, {.touch = false}));
  // A report, if there were one, would come before that of this.
  EXPECT_TRUE(holds(client, c, 3));
  EXPECT_TRUE(eventually([&] { return !unseen() || must(client.stats()).recency_reports > 0; }));
  set(client, 4);
  EXPECT_THAT(where_are(client, {a, b, c}), ElementsAre("disk", "memory", "memory"));
}

TEST_P(ProviderTest, C66_ReadingASpilledBlobMakesItMostRecent) {
  Daemon node(spill_directory("a"), {.arguments = only(), .max_memsize = "3MiB"});
  auto client = client_of(node);
  const auto a = set(client, 1), b = set(client, 2), c = set(client, 3), d = set(client, 4);
  ASSERT_EQ(where(client, a), "disk");
  const auto view = must(client.poolget(a));
  EXPECT_TRUE(same(view.bytes(), pattern(kMiB, 1)));
  EXPECT_EQ(view.path(), kind_from_disk());
  // One read evicts nothing; a second one brings the blob to the arena, and others go for it.
  EXPECT_THAT(where_are(client, {a, b, c, d}), ElementsAre("disk", "memory", "memory", "memory"));
  EXPECT_EQ(must(client.poolget(a)).path(), kind());
  EXPECT_TRUE(holds(client, a, 1));
  EXPECT_THAT(where_are(client, {a, b, c, d}), ElementsAre("both", "disk", "memory", "memory"));
  EXPECT_LE(store_stats(client).payload_bytes, 3 * kMiB);
}

TEST_P(ProviderTest, C69_LargerThanTheLimitGoesStraightToDisk) {
  Daemon node(spill_directory("a"), {.arguments = only(), .max_memsize = "2MiB"});
  auto client = client_of(node);
  const auto small = set(client, 1);
  const auto big = set(client, 2, 9 * kMiB + 5);
  EXPECT_THAT(where_are(client, {small, big}), ElementsAre("memory", "disk"));
  EXPECT_TRUE(holds(client, big, 2));
  EXPECT_LE(store_stats(client).payload_bytes, 2 * kMiB);
  Bytes tail(100);
  must(client.poolread(big, big.length - 100, tail));
  const auto whole = pattern(big.length, 2);
  EXPECT_TRUE(same(tail, std::span(whole).last(100)));
}

TEST_P(ProviderTest, C70_WhatFitsNowhereIsRefusedAndNothingChanges) {
  auto arguments = only();
  arguments.insert(arguments.end(), {"--max-disksize", "2MiB"});
  Daemon node(spill_directory("a"), {.arguments = arguments, .max_memsize = "2MiB"});
  auto client = client_of(node);
  const auto a = set(client, 1), b = set(client, 2);
  for (std::uint64_t size : {2 * kMiB, 3 * kMiB, 20 * kMiB}) {
    const auto refused = client.poolset(pattern(size));
    EXPECT_EQ(code(refused), Code::kNoSpace) << message(refused);
  }
  EXPECT_THAT(where_are(client, {a, b}), ElementsAre("memory", "memory"));
  EXPECT_EQ(store_stats(client).disk_bytes, 0U);
  EXPECT_EQ(store_stats(client).payload_bytes, 2 * kMiB);
  EXPECT_TRUE(holds(client, a, 1));
  EXPECT_THAT(files_below(node.spill_directory(), ".blob"), IsEmpty());
  EXPECT_THAT(files_below(node.spill_directory(), ".tmp"), IsEmpty());
}

TEST_P(ProviderTest, C72_AllDeletedLeavesNothing) {
  Daemon node(spill_directory("a"), {.arguments = only(), .max_memsize = "3MiB"});
  auto client = client_of(node);
  auto other = client_of(node);
  std::vector<DRef> refs;
  for (std::uint64_t i = 0; i < 6; ++i) refs.push_back(set(client, i));
  refs.push_back(set(client, 6, 0));
  refs.push_back(set(client, 7, 5 * kMiB));
  EXPECT_TRUE(holds(other, refs[0], 0));
  for (const auto& ref : refs) must(other.pooldelete(ref));
  expect_empty(client, node);
}

TEST_P(ProviderTest, C74_DiskFullInMidWriteAndRecovery) {
  const auto disk = SmallDisk::mount(directory_ / "disk", 6 * kMiB);
  if (!disk) GTEST_SKIP() << "SKIPPED: mounting a tmpfs is not allowed here";
  Daemon node(directory_ / "disk" / "spill", {.arguments = only(), .max_memsize = "2MiB"});
  auto client = client_of(node);
  std::vector<DRef> refs;
  Result<DRef> refused = fail(Code::kOk, "");
  for (std::uint64_t i = 0; i < 20; ++i) {
    refused = client.poolset(pattern(kMiB, i));
    if (!refused) break;
    refs.push_back(*refused);
  }
  ASSERT_EQ(code(refused), Code::kNoSpace) << message(refused);
  EXPECT_EQ(code(client.poolset(pattern(30 * kMiB))), Code::kNoSpace);
  EXPECT_THAT(files_below(node.spill_directory(), ".tmp"), IsEmpty());
  for (std::size_t i = refs.size() - 2; i < refs.size(); ++i)
    EXPECT_TRUE(holds(client, refs[i], i)) << i;
  must(client.pooldelete(refs[0]));
  const auto fresh = set(client, 77);
  EXPECT_TRUE(holds(client, fresh, 77));
  must(client.pooldelete(fresh));
  for (std::size_t i = 1; i < refs.size(); ++i) {
    EXPECT_TRUE(holds(client, refs[i], i)) << i;
    must(client.pooldelete(refs[i]));
  }
  expect_empty(client, node);
}

TEST_P(ProviderTest, C74_FileSizeLimitInMidWriteAndRecovery) {
  Daemon node(spill_directory("a"), {.arguments = only(), .max_memsize = "2MiB"});
  // Later than the start, because the pool's memory is a file, too.
  const rlimit limit{4 * kMiB, 4 * kMiB};
  ASSERT_EQ(::prlimit(node.pid(), RLIMIT_FSIZE, &limit, nullptr), 0);
  auto client = client_of(node);
  const auto a = set(client, 1), b = set(client, 2);
  const auto refused = client.poolset(pattern(12 * kMiB));
  EXPECT_EQ(code(refused), Code::kNoSpace) << message(refused);
  EXPECT_TRUE(holds(client, a, 1));
  EXPECT_TRUE(holds(client, b, 2));
  const auto c = set(client, 3);
  EXPECT_TRUE(holds(client, c, 3));
  for (const auto& ref : {a, b, c}) must(client.pooldelete(ref));
  expect_empty(client, node);
}

TEST_P(ProviderTest, C76_PinnedIsNeverEvictedBySetsOfOthers) {
  Daemon node(spill_directory("b"), only());
  auto a = node_here(node);  // 16 MiB
  const auto mine = set(a, 1);
  const auto pin = must(a.poolget(mine));
  auto client = client_of(node);
  for (std::uint64_t i = 0; i < 20; ++i) set(client, i, kMiB, {.node = a.self().id});
  EXPECT_EQ(where(client, mine), "memory");
  EXPECT_TRUE(same(pin.bytes(), pattern(kMiB, 1)));
  EXPECT_EQ(must(client.inspect(mine)).pins, 1U);
}

TEST_P(ProviderTest, C79_GetIsNotDelayedByAnotherBlobsWrite) {
  constexpr std::uint64_t kBig = 160 * kMiB;
  Daemon node(spill_directory("a"), {.arguments = only(), .max_memsize = "400MiB"});
  auto client = client_of(node);
  const auto small = set(client, 2, 4096);
  // A get counts if the write's file was there before it, and the write not over after it.
  const auto gets_during_a_write = [&] {
    const auto big = set(client, 1, kBig);
    std::atomic<bool> done{false};
    std::thread writer([&] {
      must(client.copytodisk(big));
      done = true;
    });
    int gets = 0;
    while (gets < 3 && !done) {
      const bool writing = !files_below(node.spill_directory(), ".tmp").empty();
      EXPECT_TRUE(holds(client, small, 2));
      if (writing && !done) ++gets;
    }
    writer.join();
    must(client.pooldelete(big));
    return gets;
  };
  // On a busy machine a write may be over before anybody looks; gets that wait never count.
  EXPECT_TRUE(eventually([&] { return gets_during_a_write() >= 3; })) << "the gets waited";
}

TEST_P(ProviderTest, C88_DropOnEvictIsDiscarded) {
  Daemon node(spill_directory("a"), {.arguments = only(), .max_memsize = "2MiB"});
  auto client = client_of(node);
  const auto a = set(client, 1, kMiB, {.drop_on_evict = true});
  set(client, 2);
  set(client, 3);
  EXPECT_EQ(code(client.poolget(a)), Code::kNotFound);
  EXPECT_EQ(store_stats(client).spilled_bytes, 0U);
}

// ---- paths and providers ----

TEST_P(ProviderTest, ForcedProviderIsTheOneUsed) {
  Daemon node(spill_directory("a"), listening());  // offers all
  auto client = client_of(node);
  const auto ref = set(client, 1);
  EXPECT_TRUE(holds(client, ref, 1));
  EXPECT_EQ(gets_by(client, path()), 1U);
  EXPECT_THAT(client.local_stats().gets_by_path, SizeIs(1));
}

TEST_F(ClusterTest, BestPathIsChosenByItself) {
  Daemon node(spill_directory("a"));
  auto client = connect(node);
  const auto ref = set(client, 1);
  EXPECT_TRUE(holds(client, ref, 1));
  EXPECT_EQ(gets_by(client, "shared memory"), 1U);
  EXPECT_EQ(must(client.inspect(ref)).path, "shared memory");

  auto without = connect(node, node.providers());
  EXPECT_TRUE(holds(without, ref, 1));
  EXPECT_EQ(gets_by(without, "tcp (" + best_tcp_provider() + ")"), 1U);
}

TEST_F(ClusterTest, WithoutACommonProviderTheOwnerSendsTheBytes) {
  Daemon node(spill_directory("a"), {"--provider", "sockets"});
  auto client = connect(node, {best_tcp_provider()});
  const auto ref = set(client, 1, 5 * kMiB);
  EXPECT_TRUE(holds(client, ref, 1));
  EXPECT_EQ(gets_by(client, "push"), 1U);
  EXPECT_EQ(must(client.inspect(ref)).path, "push");
}

TEST_F(ClusterTest, NodesFindEachOtherInAnyOrder) {
  const auto first = "127.0.0.1:" + std::to_string(fixed_port());
  // The second starts before the one it joins.
  Daemon second(spill_directory("b"), {"--join", first});
  Daemon node(spill_directory("a"), {.listen = first});
  auto client = connect(node);
  const auto both_up = [&] {
    std::size_t up = 0;
    for (const auto& member : must(client.nodes())) up += member.alive ? 1 : 0;
    return up == 2;
  };
  EXPECT_TRUE(eventually(both_up));
  const auto ref = set(client, 1, kMiB, {.node = second.node_id()});
  EXPECT_EQ(ref.id.node, second.node_id());
  EXPECT_TRUE(holds(client, ref, 1));
  second.kill9();
  EXPECT_TRUE(eventually([&] { return !both_up(); }));
}

TEST_F(ClusterTest, StatsOfEachNode) {
  Daemon a(spill_directory("a"));
  Daemon b(spill_directory("b"), {"--join", a.address()});
  auto client = connect(a);
  ASSERT_TRUE(eventually([&] { return must(client.nodes()).size() == 2; }));
  set(client, 1, kMiB, {.node = b.node_id()});
  const auto of_a = must(client.stats());
  const auto of_b = must(client.stats(b.node_id()));
  EXPECT_EQ(of_a.node, a.node_id());
  EXPECT_EQ(of_b.node, b.node_id());
  EXPECT_EQ(of_a.store.payload_bytes, 0U);
  EXPECT_EQ(of_b.store.payload_bytes, kMiB);
  EXPECT_EQ(of_b.store.max_memsize, 64 * kMiB);
  EXPECT_GE(of_b.sessions, 1U);
  EXPECT_GE(of_b.requests_served, 1U);
  EXPECT_GT(of_b.rss_bytes, kMiB);
  EXPECT_EQ(code(client.stats(12345)), Code::kUnavailable);
}

TEST_F(ClusterTest, NodeSaysOfItselfWhatItsClientsSee) {
  PoolOptions options;
  options.listen = "127.0.0.1:0";
  options.max_memsize = 16 * kMiB;
  options.spill_dir = spill_directory("here");
  auto node = must(Pool::open(options));
  const auto ref = set(node, 1);
  EXPECT_TRUE(holds(node, ref, 1));
  EXPECT_TRUE(holds(node, ref, 1));
  EXPECT_EQ(must(node.stats()).sessions, 0U);
  EXPECT_EQ(must(node.stats()).requests_served, 0U);

  auto client = must(Pool::connect(node.self().address));
  const auto from_client = set(client, 2);
  EXPECT_TRUE(holds(client, ref, 1));
  EXPECT_TRUE(holds(node, from_client, 2));
  const auto seen = must(client.stats());
  const auto own = must(node.stats());
  EXPECT_EQ(own.node, node.self().id);
  EXPECT_EQ(own.sessions, 1U);
  EXPECT_GE(own.requests_served, 2U) << "the set and the stats, at least";
  EXPECT_EQ(own.store.blobs, 2U);
  EXPECT_EQ(own.store.payload_bytes, 2 * kMiB);
  // Gets of its own alone: what the client read is the client's to count.
  EXPECT_THAT(own.gets_by_path, SizeIs(1));
  EXPECT_EQ(own.gets_by_path.at("in process").gets, 3U);
  EXPECT_EQ(own.gets_by_path.at("in process").bytes, 3 * kMiB);
  EXPECT_EQ(gets_by(node, "in process"), 3U);

  EXPECT_EQ(seen.node, own.node);
  EXPECT_EQ(seen.sessions, own.sessions);
  EXPECT_EQ(seen.requests_served, own.requests_served);
  EXPECT_EQ(seen.store, own.store);
  EXPECT_EQ(seen.gets_by_path, own.gets_by_path);
}

TEST_P(ProviderTest, ManyClientsAtOnce) {
  Daemon node(spill_directory("a"), {.arguments = only(), .max_memsize = "8MiB"});
  constexpr std::uint64_t kClients = 8;
  constexpr std::uint64_t kRounds = kSanitized ? 20 : 60;
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (std::uint64_t t = 0; t < kClients; ++t)
    threads.emplace_back([&, t] {
      auto client = client_of(node);
      std::vector<std::pair<DRef, std::uint64_t>> mine;
      for (std::uint64_t i = 0; i < kRounds; ++i) {
        const auto seed = t * 1'000'000 + i;
        const auto size = pattern_word(seed, 0) % (i % 10 == 0 ? 3 * kMiB : 200 * 1024);
        auto ref = client.poolset(pattern(size, seed));
        if (!ref) {
          ADD_FAILURE() << message(ref);
          ++wrong;
          continue;
        }
        mine.emplace_back(*ref, seed);
        const auto& [old, old_seed] = mine[pattern_word(seed, 1) % mine.size()];
        auto view = client.poolget(old);
        if (!view || !same(view->bytes(), pattern(old.length, old_seed))) {
          ADD_FAILURE() << message(view);
          ++wrong;
        }
        if (mine.size() > 6) {
          if (!client.pooldelete(mine.front().first)) ++wrong;
          mine.erase(mine.begin());
        }
      }
      for (const auto& [ref, seed] : mine)
        if (!client.pooldelete(ref)) ++wrong;
    });
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
  auto client = client_of(node);
  expect_empty(client, node);
  EXPECT_TRUE(eventually([&] { return must(client.stats()).sessions == 1; }));
}

}  // namespace
}  // namespace mempool::test
