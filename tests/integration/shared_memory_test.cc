// Blobs of a node on this host, looked at where they lie: what a view shows stays, whatever becomes
// of the blob, of its node, and of the reader, and nothing is held for a reader that has gone.
#include <fstream>

#include <sched.h>

#include "cluster_fixture.h"

namespace mempool::test {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;

class SharedMemoryTest : public ClusterTest {
 protected:
  static Daemon::Options small_node(const std::string& max_memsize) {
    return {.arguments = {"--provider", "shared"}, .max_memsize = max_memsize};
  }
  static Reader::Blob blob(const DRef& ref, std::uint64_t seed) { return {seed, ref.to_string()}; }
};

/// The line of /proc/self/maps that the address lies in.
std::string mapping_of(const void* address) {
  const auto wanted = reinterpret_cast<std::uintptr_t>(address);
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    const auto dash = line.find('-');
    const auto begin = std::stoull(line.substr(0, dash), nullptr, 16);
    const auto end = std::stoull(line.substr(dash + 1), nullptr, 16);
    if (begin <= wanted && wanted < end) return line;
  }
  return {};
}

TEST_F(SharedMemoryTest, TheMemoryOfADeadNodeIsGivenBack) {
  Daemon node(spill_directory("a"));
  auto client = connect(node);
  std::optional<View> view = must(client.poolget(set(client, 1)));
  const void* place = view->data();
  node.kill9();
  EXPECT_THAT(mapping_of(place), HasSubstr("memfd:mempool-region")) << "a view holds it";
  view.reset();
  EXPECT_TRUE(eventually([&] {
    return mapping_of(place).find("memfd:mempool-region") == std::string::npos;
  })) << mapping_of(place);
}

TEST_F(SharedMemoryTest, C4_GetShowsTheBytesInPlace) {
  Daemon node(spill_directory("a"));
  auto client = connect(node);
  const auto ref = set(client, 1);
  const auto first = must(client.poolget(ref));
  const auto second = must(client.poolget(ref));
  EXPECT_EQ(first.path(), Path::kSharedMemory);
  EXPECT_EQ(first.data(), second.data());
  EXPECT_THAT(mapping_of(first.data()), HasSubstr(" r--s "));
  EXPECT_THAT(mapping_of(first.data()), HasSubstr("memfd:mempool-region"));
  auto other = connect(node);
  EXPECT_EQ(must(other.poolget(ref)).path(), Path::kSharedMemory);
}

TEST_F(SharedMemoryTest, BytesInPlaceStayWhatBecomesOfTheBlob) {
  Daemon node(spill_directory("a"), small_node("4MiB"));
  auto client = connect(node);
  const auto deleted = set(client, 1), moved = set(client, 2), copied = set(client, 3);
  auto of_deleted = must(client.poolget(deleted));
  auto of_moved = must(client.poolget(moved));
  auto of_copied = must(client.poolget(copied));
  must(client.pooldelete(deleted));
  must(client.movetodisk(moved));
  must(client.copytodisk(copied));
  use_all_memory(client);
  EXPECT_TRUE(same(of_deleted.bytes(), pattern(kMiB, 1)));
  EXPECT_TRUE(same(of_moved.bytes(), pattern(kMiB, 2)));
  EXPECT_TRUE(same(of_copied.bytes(), pattern(kMiB, 3)));
  EXPECT_EQ(code(client.poolget(deleted)), Code::kNotFound);
  EXPECT_TRUE(holds(client, moved, 2));
  // What is held is counted, and nothing else is left.
  EXPECT_TRUE(eventually([&] { return quarantined(client) == 2 * (kMiB + kHeaderBytes); }));
  of_deleted.reset();
  EXPECT_TRUE(eventually([&] { return quarantined(client) == kMiB + kHeaderBytes; }));
  of_moved.reset();
  EXPECT_TRUE(eventually([&] { return quarantined(client) == 0; }));
}

TEST_F(SharedMemoryTest, C76_WhatIsLookedAtInPlaceIsNotEvicted) {
  Daemon node(spill_directory("a"), small_node("3MiB"));
  auto client = connect(node);
  const auto a = set(client, 1), b = set(client, 2), c = set(client, 3);
  auto view = must(client.poolget(a, {.touch = false}));
  const auto d = set(client, 4);
  EXPECT_THAT(where_are(client, {a, b, c, d}), ElementsAre("memory", "disk", "memory", "memory"));
  view.reset();
  const auto e = set(client, 5);
  EXPECT_THAT(where_are(client, {a, c, d, e}), ElementsAre("disk", "memory", "memory", "memory"));
}

TEST_F(SharedMemoryTest, MoreViewsThanSlots) {
  constexpr std::uint64_t kSlots = 256;
  constexpr std::uint64_t kViews = 300;
  constexpr std::uint64_t kBytes = 5000;
  Daemon node(spill_directory("a"), small_node("16MiB"));
  auto client = connect(node);
  std::vector<DRef> refs;
  std::vector<View> views;
  for (std::uint64_t i = 0; i < kViews; ++i) {
    refs.push_back(set(client, i, kBytes));
    views.push_back(must(client.poolget(refs.back())));
    EXPECT_EQ(views.back().path(), Path::kSharedMemory);
  }
  EXPECT_EQ(gets_by(client, "shared memory"), kViews);
  for (const auto& ref : refs) must(client.pooldelete(ref));
  EXPECT_TRUE(eventually([&] { return quarantined(client) == kSlots * (kBytes + kHeaderBytes); }))
      << "those without a slot are copies";
  for (std::uint64_t i = 0; i < kViews; ++i)
    EXPECT_TRUE(same(views[i].bytes(), pattern(kBytes, i))) << i;
  views.clear();
  EXPECT_TRUE(eventually([&] { return quarantined(client) == 0; }));
}

// ---- the node goes ----

TEST_F(SharedMemoryTest, ViewsOutliveTheirNode) {
  for (const bool killed : {false, true}) {
    auto node = std::make_unique<Daemon>(spill_directory("a"), small_node("64MiB"));
    auto client = connect(*node, {}, 2000);
    const auto ref = set(client, 1, 8 * kMiB);
    auto view = must(client.poolget(ref));
    if (killed) {
      node->kill9();
    } else {
      node->stop();
    }
    EXPECT_TRUE(same(view.bytes(), pattern(8 * kMiB, 1)));
    EXPECT_TRUE(eventually([&] { return code(client.poolget(ref)) == Code::kUnavailable; }));
    EXPECT_TRUE(same(view.bytes(), pattern(8 * kMiB, 1)));
  }
}

TEST_F(SharedMemoryTest, ViewsOutliveTheLinkAndTheNextLifeIsAnother) {
  const auto listen = "127.0.0.1:" + std::to_string(fixed_port());
  auto options = small_node("64MiB");
  options.listen = listen;
  auto node = std::make_unique<Daemon>(spill_directory("a"), options);
  auto client = connect(*node, {}, 2000);
  const auto ref = set(client, 1);
  const auto view = must(client.poolget(ref));
  node->kill9();
  node = std::make_unique<Daemon>(spill_directory("a"), options);
  EXPECT_TRUE(eventually([&] { return code(client.poolget(ref)) == Code::kStaleReference; }));
  const auto next = set(client, 2);
  const auto of_next = must(client.poolget(next));
  EXPECT_EQ(of_next.path(), Path::kSharedMemory);
  EXPECT_TRUE(same(of_next.bytes(), pattern(kMiB, 2)));
  EXPECT_TRUE(same(view.bytes(), pattern(kMiB, 1)));
}

// ---- readers go ----

TEST_F(SharedMemoryTest, AKilledReaderHoldsNothing) {
  Daemon node(spill_directory("a"), small_node("8MiB"));
  auto client = connect(node);
  const auto a = set(client, 1), b = set(client, 2);
  Reader reader(node.address(), {blob(a, 1), blob(b, 2)});
  ASSERT_EQ(reader.out(), "shared memory right\nshared memory right\ndone\n");
  must(client.pooldelete(a));
  must(client.pooldelete(b));
  // The third goes when its time is over: those that are held have had theirs by then.
  must(client.pooldelete(set(client, 3)));
  const auto held = 2 * (kMiB + kHeaderBytes);
  EXPECT_TRUE(eventually([&] { return quarantined(client) == held; }));
  EXPECT_TRUE(reader.right());
  reader.child().signal(SIGKILL);
  reader.child().wait();
  EXPECT_TRUE(eventually([&] { return quarantined(client) == 0; }));
}

TEST_F(SharedMemoryTest, AReaderThatEndsHoldsNothing) {
  Daemon node(spill_directory("a"), small_node("8MiB"));
  auto client = connect(node);
  const auto a = set(client, 1);
  Reader reader(node.address(), {blob(a, 1)});
  ASSERT_EQ(reader.out(), "shared memory right\ndone\n");
  must(client.pooldelete(a));
  must(client.pooldelete(set(client, 3)));
  EXPECT_TRUE(eventually([&] { return quarantined(client) == kMiB + kHeaderBytes; }));
  reader.child().signal(SIGTERM);
  EXPECT_EQ(reader.child().wait(), (Ended{0, 0})) << reader.out();
  EXPECT_TRUE(eventually([&] { return quarantined(client) == 0; }));
}

// ---- containers ----

/// Whether a command that gives another its own namespaces may do so here.
bool permitted(Words prefix) {
  prefix.push_back("/bin/true");
  return Child(prefix).wait() == Ended{0, 0};
}

TEST_F(SharedMemoryTest, SharedByContainersThatShareOnlyTheNetwork) {
  const Words container{"/usr/bin/unshare", "--user",       "--map-root-user", "--pid",
                        "--fork",           "--mount-proc", "--ipc",           "--uts"};
  if (!permitted(container))
    GTEST_SKIP() << "SKIPPED: user and process namespaces are not allowed here";
  Daemon node(spill_directory("a"));
  auto client = connect(node);
  const auto a = set(client, 1);
  for (const auto* paths : {"auto", "shared"}) {
    Reader reader(node.address(), {blob(a, 1)},
                  {.paths = paths, .prefix = container, .hold = false});
    EXPECT_EQ(reader.out(), "shared memory right\ndone\n");
  }
}

TEST_F(SharedMemoryTest, WithoutTheNodesNetworkNothingIsReached) {
  const Words isolated{"/usr/bin/unshare", "--user", "--map-root-user", "--net"};
  if (!permitted(isolated)) GTEST_SKIP() << "SKIPPED: network namespaces are not allowed here";
  Daemon node(spill_directory("a"));
  auto client = connect(node);
  Reader reader(node.address(), {blob(set(client, 1), 1)}, {.prefix = isolated, .hold = false});
  EXPECT_THAT(reader.out(), StartsWith("failed: Unavailable: cannot connect to " + node.address()));
}

/// Two network namespaces of this machine and a cable between them, as containers on a bridge have.
class TwoNetworks {
 public:
  static std::optional<TwoNetworks> make() {
    TwoNetworks made;
    const auto done = [](const std::string& command) {
      return Child({"/bin/sh", "-c", command + " 2>/dev/null"}).wait() == Ended{0, 0};
    };
    const auto near = made.near_, far = made.far_;
    if (!done("command -v ip") || !done("ip netns add " + near)) return std::nullopt;
    made.made_ = true;
    if (!done("ip netns add " + far) ||
        !done("ip -n " + near + " link add cable0 type veth peer name cable1 netns " + far) ||
        !done("ip -n " + near + " addr add 192.0.2.1/24 dev cable0") ||
        !done("ip -n " + far + " addr add 192.0.2.2/24 dev cable1"))
      return std::nullopt;
    for (const auto& [name, device] :
         {std::pair(near, "cable0"), std::pair(near, "lo"), std::pair(far, "cable1")})
      if (!done("ip -n " + name + " link set " + device + " up")) return std::nullopt;
    return made;
  }
  TwoNetworks(TwoNetworks&& other) noexcept
      : near_(other.near_), far_(other.far_), made_(std::exchange(other.made_, false)) {}
  TwoNetworks& operator=(TwoNetworks&&) = delete;
  ~TwoNetworks() {
    if (!made_) return;
    for (const auto& name : {near_, far_})
      Child({"/bin/sh", "-c", "ip netns del " + name + " 2>/dev/null"}).wait();
  }
  Words near() const { return {"/bin/sh", "-c", "exec ip netns exec " + near_ + " \"$0\" \"$@\""}; }
  Words far() const { return {"/bin/sh", "-c", "exec ip netns exec " + far_ + " \"$0\" \"$@\""}; }

 private:
  TwoNetworks() = default;
  std::string near_ = "mempool-near-" + std::to_string(::getpid());
  std::string far_ = "mempool-far-" + std::to_string(::getpid());
  bool made_ = false;
};

TEST_F(SharedMemoryTest, InAnotherNetworkTheFabricIsUsedAndElseTheOwnerSends) {
  const auto networks = TwoNetworks::make();
  if (!networks)
    GTEST_SKIP() << "SKIPPED: no network namespaces with a cable (iproute2, root) here";
  Daemon node(spill_directory("a"),
              {.arguments = {"--insecure"}, .prefix = networks->near(), .listen = "192.0.2.1:0"});
  // Set from the same network, where the memory is shared.
  const auto set_here = directory_ / "blob";
  write_file(set_here, pattern(kMiB, 1));
  Words setter = networks->near();
  for (const auto& word : {cli_program(), std::string("--node"), node.address(), std::string("set"),
                           set_here.native()})
    setter.push_back(word);
  const auto ref = must(DRef::parse(last_line(run(setter).out)));
  const auto read = [&](const Words& from, const std::string& paths) {
    Reader reader(node.address(), {blob(ref, 1)}, {.paths = paths, .prefix = from, .hold = false});
    return reader.out();
  };
  EXPECT_EQ(read(networks->near(), "auto"), "shared memory right\ndone\n");
  EXPECT_EQ(read(networks->far(), "auto"), "tcp right\ndone\n");
  EXPECT_EQ(read(networks->far(), "shared"), "push right\ndone\n");
}

}  // namespace
}  // namespace mempool::test
