// Large sets that the owner pulls: it reads them out of the writer's memory. TCP providers do so
// only where a client names it ("pull"), RDMA by itself.
#include <atomic>
#include <csignal>
#include <cstring>
#include <thread>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cluster_fixture.h"

namespace mempool::test {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

std::size_t count(const std::string& text, const std::string& word) {
  std::size_t found = 0;
  for (auto at = text.find(word); at != std::string::npos; at = text.find(word, at + 1)) ++found;
  return found;
}

class PullTest : public ProviderTest {
 protected:
  void SetUp() override {
    ProviderTest::SetUp();
    if (IsSkipped() || rdma()) return;
    const Daemon node(spill_directory("any"));
    if (std::ranges::find(node.providers(), provider()) == node.providers().end())
      GTEST_SKIP() << "SKIPPED: no provider " << provider() << " on this machine";
  }

  /// A node that tells what it does.
  Daemon::Options talking(const std::string& max_memsize = "192MiB") const {
    auto words = only();
    words.insert(words.end(), {"--log-level", "debug"});
    return {.arguments = words, .max_memsize = max_memsize};
  }
  static std::string paths() { return rdma() ? provider() : provider() + ",pull"; }
  static Pool puller_of(const Daemon& node, std::uint32_t timeout_ms = 30'000) {
    return rdma() ? connect(node, {provider()}, timeout_ms)
                  : connect(node, {provider(), "pull"}, timeout_ms);
  }
  static void expect_pulled(const Daemon& node) {
    const auto log = const_cast<Daemon&>(node).child().err();
    EXPECT_THAT(log, HasSubstr("are pulled over " + provider()));
    EXPECT_THAT(log, Not(HasSubstr("cannot read the source of a session")));
  }

  /// A writer of 150 MiB in the middle of its set: some parts of it were asked for.
  Child writer_at_work(const Daemon& node, Pool& client) const {
    const auto big = directory_ / "big";
    write_file(big, {});
    fs::resize_file(big, 150 * kMiB);
    const auto before = must(client.stats()).requests_served;
    std::uint64_t asked = 0;  // by this client
    Child writer(
        {cli_program(), "--node", node.address(), "--provider", paths(), "set", big.native()});
    EXPECT_TRUE(
        eventually([&] { return must(client.stats()).requests_served > before + ++asked + 20; }));
    EXPECT_TRUE(writer.running()) << "it was over before anything could happen to it";
    return writer;
  }
  static bool is_given_back(Pool& client) {
    return eventually([&] { return store_stats(client).payload_bytes < kMiB; });
  }
};
INSTANTIATE_TEST_SUITE_P(Over, PullTest, ::testing::Values("net", "tcp", "sockets", "verbs"),
                         provider_name);

TEST_P(PullTest, BytesAreRightAtTheBordersOfParts) {
  Daemon node(spill_directory("a"), talking());
  auto client = puller_of(node);
  for (std::uint64_t size :
       {kMiB + 1, 2 * kMiB - 1, 4 * kMiB, 4 * kMiB + 1, 8 * kMiB - 1, 9 * kMiB + 4097, 64 * kMiB}) {
    const auto ref = set(client, size, size);
    EXPECT_TRUE(holds(client, ref, size)) << size << " bytes";
    must(client.pooldelete(ref));
  }
  expect_pulled(node);
  expect_empty(client, node);
}

TEST_P(PullTest, BytesGoStraightToDiskAsWell) {
  Daemon node(spill_directory("a"), talking("8MiB"));
  auto client = puller_of(node);
  const auto ref = set(client, 1, 20 * kMiB + 5);
  EXPECT_TRUE(holds(client, ref, 1));
  EXPECT_EQ(where(client, ref), "disk");
  expect_pulled(node);
}

TEST_P(PullTest, ManySetsAtOnceOfSeveralClients) {
  Daemon node(spill_directory("a"), talking());
  std::vector<std::thread> threads;
  std::vector<Pool> clients;
  for (int i = 0; i < 3; ++i) clients.push_back(puller_of(node));
  for (std::uint64_t t = 0; t < 6; ++t)
    threads.emplace_back([&, t] {
      auto& client = clients[t % clients.size()];
      for (std::uint64_t i = 0; i < 5; ++i) {
        const auto seed = 100 * t + i;
        const auto size = 3 * kMiB + seed * 1013;
        const auto ref = client.poolset(pattern(size, seed));
        ASSERT_TRUE(ref) << message(ref);
        EXPECT_TRUE(holds(client, *ref, seed));
        must(client.pooldelete(*ref));
      }
    });
  for (auto& thread : threads) thread.join();
  EXPECT_THAT(node.child().err(), HasSubstr("are pulled over " + provider()));
  expect_empty(clients.front(), node);
}

/// By the log of both sides.
TEST_P(PullTest, OnlyTheFirstSetRegistersMemory) {
  Daemon node(spill_directory("a"), talking());
  const auto registered_by_sets = [&](const std::string& name, std::uint64_t files) {
    fs::create_directory(directory_ / name);
    for (std::uint64_t i = 0; i < files; ++i)
      write_file(directory_ / name / std::to_string(i), pattern(5 * kMiB, i));
    const auto ran = run({cli_program(), "--node", node.address(), "--provider", paths(),
                          "--log-level", "debug", "load", "-q", (directory_ / name).native()});
    EXPECT_EQ(ran.status, 0) << ran.err;
    return count(ran.err, "bytes are registered");
  };
  const auto by_one = registered_by_sets("one", 1);
  EXPECT_GT(by_one, 0U);
  const auto by_node = count(node.child().err(), "bytes are registered");
  EXPECT_GT(by_node, 0U);
  EXPECT_EQ(registered_by_sets("many", 10), by_one);
  EXPECT_EQ(count(node.child().err(), "bytes are registered"), by_node);
  expect_pulled(node);
}

TEST_P(PullTest, WriterKilledInTheMiddleLeavesNothing) {
  Daemon node(spill_directory("a"), talking());
  auto client = puller_of(node);
  for (int round = 0; round < 5; ++round) {
    auto writer = writer_at_work(node, client);
    writer.signal(SIGKILL);
    writer.wait();
    EXPECT_TRUE(is_given_back(client)) << "the reservation leaked";
    const auto ref = set(client, 7, 5 * kMiB);
    EXPECT_TRUE(holds(client, ref, 7));
    must(client.pooldelete(ref));
  }
  // Not every provider tells that the peer of a read is gone.
  if (rdma()) {
    EXPECT_THAT(node.child().err(), Not(HasSubstr("no buffer is free")));
  }
  EXPECT_TRUE(eventually([&] { return must(client.stats()).sessions == 1; }));
  expect_empty(client, node);
}

/// Its reads end late, when its room has become that of others.
TEST_P(PullTest, WriterStoppedInTheMiddleHoldsUpNobodyAndHarmsNobodyLater) {
  Daemon node(spill_directory("a"), talking());
  auto client = puller_of(node);
  auto writer = writer_at_work(node, client);
  writer.signal(SIGSTOP);
  const auto others_go_on = [&](std::uint64_t seed) {
    std::vector<DRef> refs;
    for (std::uint64_t i = 0; i < 5; ++i) refs.push_back(set(client, seed + i, 5 * kMiB));
    for (std::uint64_t i = 0; i < 5; ++i) {
      EXPECT_TRUE(holds(client, refs[i], seed + i));
      must(client.pooldelete(refs[i]));
    }
  };
  others_go_on(1);
  EXPECT_TRUE(is_given_back(client)) << "the draft outlives the owner's patience and the lease";
  writer.signal(SIGCONT);
  others_go_on(10);
  // It sends the bytes, or has lost its session.
  if (writer.wait().status == 0)
    must(client.pooldelete(must(DRef::parse(last_line(writer.out())))));
  EXPECT_TRUE(eventually([&] { return must(client.stats()).sessions == 1; }));
  expect_empty(client, node);
}

TEST_P(PullTest, OwnerKilledInTheMiddleIsAnErrorInTime) {
  Daemon node(spill_directory("a"), talking());
  auto client = puller_of(node, 120'000);
  const auto bytes = pattern(64 * kMiB);
  std::atomic<int> sets{0};
  Code ended = Code::kOk;
  Clock::time_point last_start;
  std::thread writer([&] {
    while (ended == Code::kOk) {
      last_start = Clock::now();
      const auto ref = client.poolset(bytes);
      ended = ref ? code(client.pooldelete(*ref)) : code(ref);
      ++sets;
    }
  });
  EXPECT_TRUE(eventually([&] { return sets > 0; }));
  node.kill9();
  writer.join();
  EXPECT_EQ(ended, Code::kUnavailable);
  EXPECT_LT(Clock::now() - last_start, kPatience);
}

/// Forwards one connection after the other to a port of this host, from another of its addresses:
/// what lies between two networks does that.
class Relay {
 public:
  explicit Relay(std::uint16_t to) : to_(to), door_(::socket(AF_INET, SOCK_STREAM, 0)) {
    auto at = address("127.0.0.1", 0);
    socklen_t size = sizeof at;
    if (::bind(door_, reinterpret_cast<sockaddr*>(&at), size) != 0 || ::listen(door_, 4) != 0 ||
        ::getsockname(door_, reinterpret_cast<sockaddr*>(&at), &size) != 0)
      throw std::runtime_error("no socket to listen on");
    port_ = ntohs(at.sin_port);
    thread_ = std::thread([this] { serve(); });
  }
  ~Relay() {
    ::shutdown(door_, SHUT_RDWR);
    thread_.join();
    ::close(door_);
  }
  std::string where() const { return "127.0.0.1:" + std::to_string(port_); }

 private:
  static sockaddr_in address(const char* host, std::uint16_t port) {
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_port = htons(port);
    ::inet_pton(AF_INET, host, &at.sin_addr);
    return at;
  }
  void serve() const {
    for (;;) {
      const int near = ::accept(door_, nullptr, nullptr);
      if (near < 0) return;
      const int far = ::socket(AF_INET, SOCK_STREAM, 0);
      const auto from = address("127.0.0.2", 0);
      const auto to = address("127.0.0.1", to_);
      if (::bind(far, reinterpret_cast<const sockaddr*>(&from), sizeof from) == 0 &&
          ::connect(far, reinterpret_cast<const sockaddr*>(&to), sizeof to) == 0)
        copy(near, far);
      ::close(near);
      ::close(far);
    }
  }
  /// Until either hangs up.
  static void copy(int near, int far) {
    std::vector<char> bytes(1 << 16);
    for (;;) {
      pollfd both[2] = {{near, POLLIN, 0}, {far, POLLIN, 0}};
      if (::poll(both, 2, -1) < 0) return;
      for (const auto& [from, to] : {std::pair(0, 1), std::pair(1, 0)}) {
        if (!both[from].revents) continue;
        const auto got = ::read(both[from].fd, bytes.data(), bytes.size());
        if (got <= 0) return;
        for (ssize_t sent = 0; sent < got;) {
          const auto n = ::send(both[to].fd, bytes.data() + sent,
                                static_cast<std::size_t>(got - sent), MSG_NOSIGNAL);
          if (n <= 0) return;
          sent += n;
        }
      }
    }
  }

  const std::uint16_t to_;
  const int door_;
  std::uint16_t port_ = 0;
  std::thread thread_;
};

/// The node connects to nobody but the host that a session comes from: this writer cannot be read.
TEST_F(ClusterTest, WhatCannotBePulledIsSentAndThatIsSaidOnce) {
  Daemon node(spill_directory("a"));
  const Relay relay(node.port());
  const auto files = directory_ / "files";
  fs::create_directory(files);
  for (std::uint64_t i = 0; i < 3; ++i) write_file(files / std::to_string(i), pattern(5 * kMiB, i));
  const auto ran = run({cli_program(), "--node", relay.where(), "--provider",
                        best_tcp_provider() + ",pull", "load", "-q", files.native()});
  EXPECT_EQ(ran.status, 0) << ran.err;
  EXPECT_EQ(count(ran.err, "cannot read large sets"), 1U) << ran.err;
  auto client = connect(node);
  EXPECT_EQ(store_stats(client).payload_bytes, 15 * kMiB);
}

}  // namespace
}  // namespace mempool::test
