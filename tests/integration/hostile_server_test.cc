// Servers that are not what they say. Whatever they answer, a client gives up with a clear error in
// time.
#include <atomic>
#include <functional>
#include <optional>
#include <random>
#include <utility>

#include <gmock/gmock.h>

#include "../transport/frames.h"
#include "support/daemon.h"
#include "support/raw_peer.h"
#include "support/results.h"

namespace mempool::test {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;
using transport::Hello;
using transport::Op;
using transport::Reply;
using transport::Request;

/// Short where the client is to run into it, long before the server ends its silence; else it would
/// hide the answer of a slow server.
std::string timeout_for(const std::string& code) {
  return code == "Timeout" ? "1500" : "10000";
}

/// The command fails with the code.
void expect_client_gives_up(const RawServer& server, const std::string& code) {
  const auto ran = run_cli(server.address(), {"--timeout-ms", timeout_for(code), "nodes"});
  EXPECT_EQ(ran.status, 1) << ran.out;
  EXPECT_THAT(ran.err, AllOf(StartsWith("mempool: " + code + ": "), HasSubstr(server.address())));
  EXPECT_GE(server.connections(), 1);
}

TEST(HostileServer, Garbage) {
  RawServer server([](RawPeer& peer) {
    peer.send(pattern(10'000));
    peer.ended(5s);
  });
  expect_client_gives_up(server, "Protocol");
}

TEST(HostileServer, AnotherProtocol) {
  RawServer server([](RawPeer& peer) {
    peer.send(bytes_of("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"));
    peer.ended(5s);
  });
  expect_client_gives_up(server, "Protocol");
}

/// A node that says that its memory is behind a door where there is none, or no such memory.
TEST(HostileServer, DoorsThatLeadNowhere) {
  for (const std::string& door :
       {std::string("mempool-none"), std::string(300, 'x'), std::string("a\0b", 3)})
    for (const std::vector<std::uint64_t>& regions :
         {std::vector<std::uint64_t>{}, {0}, {~0ULL}, std::vector<std::uint64_t>(64, kMiB)}) {
      RawServer server([&](RawPeer& peer) {
        if (!receive(peer, 5s)) return;
        Hello hello = client_hello();
        hello.node = 7;
        hello.incarnation = 8;
        hello.door = door;
        hello.region_bytes = regions;
        peer.send(frame(encode(hello)));
        const auto asked = receive(peer, 5s);
        const auto* request = asked ? std::get_if<Request>(&asked->message) : nullptr;
        if (request) peer.send(frame(encode(Reply{.id = request->id})));
        peer.ended(5s);
      });
      const auto ran =
          run_cli(server.address(), {"--timeout-ms", "5000", "--provider", "shared", "nodes"});
      EXPECT_EQ(ran.status, 0) << ran.err;
    }
}

TEST(HostileServer, Nothing) {
  RawServer server([](RawPeer& peer) { peer.ended(10s); });
  expect_client_gives_up(server, "Timeout");
}

TEST(HostileServer, HangsUp) {
  RawServer server([](RawPeer&) {});
  expect_client_gives_up(server, "Unavailable");
}

TEST(HostileServer, EndlessBytes) {
  RawServer server([](RawPeer& peer) {
    const auto part = pattern(100'000);
    const auto until = Clock::now() + 10s;
    while (Clock::now() < until && peer.send(part, 1s) == part.size()) continue;
  });
  expect_client_gives_up(server, "Protocol");
}

TEST(HostileServer, HalfAHello) {
  RawServer server([](RawPeer& peer) {
    const auto hello = frame(encode(client_hello()));
    peer.send(std::span(hello).first(hello.size() - 3));
    peer.ended(10s);
  });
  expect_client_gives_up(server, "Timeout");
}

TEST(HostileServer, AnotherVersionAndAnotherCluster) {
  RawServer newer([](RawPeer& peer) {
    auto hello = frame(encode(client_hello()));
    hello[4] = std::byte{2};
    peer.send(hello);
    peer.ended(10s);
  });
  expect_client_gives_up(newer, "VersionMismatch");
  RawServer foreign([](RawPeer& peer) {
    Hello hello = client_hello();
    hello.cluster += 1;
    peer.send(frame(encode(hello)));
    peer.ended(10s);
  });
  expect_client_gives_up(foreign, "WrongCluster");
}

TEST(HostileServer, RefusesWithoutAnError) {
  RawServer server([](RawPeer& peer) {
    peer.send(frame(encode(Reply{})));
    peer.ended(10s);
  });
  expect_client_gives_up(server, "Protocol");
}

Hello node_hello() {
  Hello hello = client_hello();
  hello.node = 4711;
  hello.incarnation = 12;
  hello.address = "127.0.0.1:1";
  hello.lease_ms = 10'000;
  return hello;
}

TEST(HostileServer, OffersThatDoNotFit) {
  // Asked for here: it takes a node's start, and the client is waiting there.
  const auto provider = best_tcp_provider();
  RawServer server([&](RawPeer& peer) {
    Hello hello = node_hello();
    hello.providers = {{provider, pattern(16), {1, 2}, {3}}};
    hello.region_bytes = {4096};
    peer.send(frame(encode(hello)));
    peer.ended(10s);
  });
  expect_client_gives_up(server, "Protocol");
}

/// After a good hello: whatever it answers to the first request.
void expect_command_fails(const std::function<void(RawPeer&)>& answer, const Words& words,
                          const std::string& code) {
  RawServer server([&](RawPeer& peer) {
    if (!receive(peer)) return;
    Hello hello = node_hello();
    peer.send(frame(encode(hello)));
    if (!receive(peer)) return;
    answer(peer);
    peer.ended(10s);
  });
  Words all{"--timeout-ms", timeout_for(code)};
  all.insert(all.end(), words.begin(), words.end());
  const auto ran = run_cli(server.address(), all);
  EXPECT_EQ(ran.status, 1) << ran.out;
  EXPECT_THAT(ran.err, StartsWith("mempool: " + code + ": "));
}

TEST(HostileServer, AnswersThatAreNone) {
  expect_command_fails([](RawPeer& p) { p.send(frame(encode(Request{}))); }, {"nodes"}, "Protocol");
  expect_command_fails([](RawPeer& p) { p.send(frame(encode(node_hello()))); }, {"nodes"},
                       "Protocol");
  expect_command_fails([](RawPeer& p) { p.send(pattern(5000)); }, {"nodes"}, "Protocol");
  // A reply to a request that nobody made, and no other.
  expect_command_fails([](RawPeer& p) { p.send(frame(encode(Reply{.id = 12345}))); }, {"nodes"},
                       "Timeout");
  // More bytes than were asked for.
  expect_command_fails([](RawPeer& p) { p.send(frame(encode(Reply{.id = 1}), pattern(100'000))); },
                       {"nodes"}, "Protocol");
}

/// Fewer bytes than were asked for, and a blob of another length.
TEST(HostileServer, ReadsThatComeShort) {
  const DRef ref{{client_hello().cluster, 4711, 12, 1}, 1000, {}};
  expect_command_fails(
      [&](RawPeer& p) {
        p.send(frame(encode(Reply{.id = 1, .ref = ref})));  // located, on disk
        if (!receive(p)) return;
        p.send(frame(encode(Reply{.id = 2}), pattern(10)));
      },
      {"get", ref.to_string()}, "Protocol");
  expect_command_fails(
      [&](RawPeer& p) {
        DRef longer = ref;
        longer.length = 5000;
        p.send(frame(encode(Reply{.id = 1, .ref = longer})));
      },
      {"get", ref.to_string()}, "InvalidArgument");
}

/// A node that answers each request with what `reply` makes of it, or not at all.
RawServer server_that(std::function<std::optional<std::pair<Reply, Bytes>>(const Request&)> reply) {
  return RawServer([reply = std::move(reply)](RawPeer& peer) {
    if (!receive(peer)) return;
    peer.send(frame(encode(node_hello())));
    while (const auto asked = receive(peer)) {
      const auto* request = std::get_if<Request>(&asked->message);
      if (!request) return;
      auto answer = request->op == Op::kPing ? std::pair<Reply, Bytes>() : reply(*request);
      if (!answer) continue;
      answer->first.id = request->id;
      peer.send(frame(encode(answer->first), answer->second));
    }
  });
}

/// It makes room for the blob, perhaps, but can send it from its file.
TEST(HostileServer, SaysNothingOfWhereABlobIs) {
  const DRef ref{{client_hello().cluster, 4711, 12, 1}, 1000, {}};
  const auto bytes = pattern(ref.length);
  auto server = server_that([&](const Request& request) -> std::optional<std::pair<Reply, Bytes>> {
    if (request.op != Op::kRead) return std::nullopt;
    return std::pair(Reply{}, bytes);
  });
  const auto ran =
      run_cli(server.address(), {"--timeout-ms", "3000", "get", ref.to_string(), "-o", "-"});
  EXPECT_EQ(ran.status, 0) << ran.err;
  EXPECT_EQ(ran.out, std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
}

/// What it reserved for a set is given back to it when the set ends without an answer.
TEST(HostileServer, SaysNothingAtTheEndOfASet) {
  std::atomic<bool> given_up{false};
  auto server = server_that([&](const Request& request) -> std::optional<std::pair<Reply, Bytes>> {
    if (request.op != Op::kSetCommit) return std::pair<Reply, Bytes>();
    if (request.release) given_up = true;
    return std::nullopt;
  });
  TemporaryDirectory directory;
  write_file(directory / "large", pattern(3 * kMiB));
  const auto ran =
      run_cli(server.address(), {"--timeout-ms", "1500", "set", (directory / "large").native()});
  EXPECT_EQ(ran.status, 1);
  EXPECT_THAT(ran.err, StartsWith("mempool: Timeout: "));
  EXPECT_TRUE(eventually([&] { return given_up.load(); }));
}

TEST(HostileServer, FlippedBitsInItsHello) {
  Hello hello = node_hello();
  hello.providers = {{best_tcp_provider(), pattern(16), {1}, {2}},
                     {"sockets", pattern(16), {1}, {2}}};
  hello.region_bytes = {1 << 20};
  hello.members = {{8, "127.0.0.1:2", 9, true, {"net"}}};
  const auto good = frame(encode(hello));
  std::mt19937_64 random(23);
  RawServer server([&](RawPeer& peer) {
    auto bad = good;
    for (std::uint64_t flips = 1 + random() % 8; flips > 0; --flips)
      bad[random() % bad.size()] ^= std::byte{1} << (random() % 8);
    peer.send(bad);
    peer.finish_sending();
    peer.ended(10s);
  });
  for (int round = 0; round < (kSanitized ? 10 : 40); ++round) {
    const auto ran = run_cli(server.address(), {"--timeout-ms", "1500", "nodes"});
    EXPECT_EQ(ran.status, 1) << "round " << round << ran.out;
    EXPECT_THAT(ran.err, HasSubstr("mempool: "));
  }
}

}  // namespace
}  // namespace mempool::test
