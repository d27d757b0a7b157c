// Clients that are not what they say: another version, another cluster, no MemPool at all, damaged,
// endless and half frames, requests out of place. Whatever comes, a node answers or hangs up, keeps
// nothing, and goes on serving others.
#include <random>

#include <gmock/gmock.h>
#include <netinet/in.h>
#include <nlohmann/json.hpp>

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

/// Memory of a process on this host, behind a port.
transport::ProviderOffer loopback_source(const std::string& provider, std::uint16_t port) {
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_port = htons(port);
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  transport::ProviderOffer offer{provider, std::vector<std::byte>(sizeof at), {1}, {0}};
  std::memcpy(offer.address.data(), &at, sizeof at);
  return offer;
}

Code refusal(RawPeer& peer) {
  const auto answer = receive(peer);
  const auto* reply = answer ? std::get_if<Reply>(&answer->message) : nullptr;
  return reply ? reply->code : Code::kOk;
}

class HostileTest : public ::testing::Test {
 protected:
  /// A session as an honest client begins it.
  RawPeer session() const {
    RawPeer peer(node_.port());
    peer.send(frame(encode(client_hello())));
    const auto answer = receive(peer);
    const auto* hello = answer ? std::get_if<Hello>(&answer->message) : nullptr;
    if (!hello || hello->node != node_.node_id()) throw std::runtime_error("no hello");
    return peer;
  }
  BlobId life(RawPeer& peer) const {
    const auto ref = set(peer, pattern(1000, 1));
    return ref.id;
  }
  static DRef set(RawPeer& peer, const Bytes& bytes) {
    Request request{.id = 99, .op = Op::kSet, .length = bytes.size()};
    peer.send(frame(encode(request), bytes));
    const auto answer = receive(peer);
    const auto* reply = answer ? std::get_if<Reply>(&answer->message) : nullptr;
    if (!reply || reply->code != Code::kOk) throw std::runtime_error("the set failed");
    return reply->ref;
  }
  static Code ask(RawPeer& peer, const Request& request, const Bytes& payload = {}) {
    peer.send(frame(encode(request), payload));
    const auto answer = receive(peer);
    const auto* reply = answer ? std::get_if<Reply>(&answer->message) : nullptr;
    if (!reply) return Code::kClosed;
    EXPECT_EQ(reply->id, request.id);
    return reply->code;
  }

  /// The node serves honest clients, and nothing of the others is left.
  void expect_sound(std::uint64_t blobs = 0) {
    ASSERT_TRUE(node_.running()) << node_.child().err();
    RawPeer peer = session();
    const auto ref = set(peer, pattern(50'000, 3));
    peer.send(frame(encode(Request{.id = 5, .op = Op::kRead, .blob = ref.id, .length = 50'000})));
    const auto answer = receive(peer);
    ASSERT_TRUE(answer);
    EXPECT_TRUE(same(answer->payload, pattern(50'000, 3)));
    EXPECT_EQ(ask(peer, {.id = 6, .op = Op::kDelete, .blob = ref.id}), Code::kOk);
    Stats stats;
    EXPECT_TRUE(eventually([&] {
      peer.send(frame(encode(Request{.id = 7, .op = Op::kStats})));
      const auto answered = receive(peer);
      if (!answered) return false;
      stats = std::get<Reply>(answered->message).stats;
      return stats.sessions == 1 && stats.store.blobs == blobs &&
             (blobs > 0 || stats.store.payload_bytes == 0) && stats.store.pinned_blobs == 0;
    })) << stats.sessions
        << " sessions, " << stats.store.blobs << " blobs, " << stats.store.payload_bytes
        << " bytes, " << stats.store.pinned_blobs << " pinned";
  }

  const TemporaryDirectory directory_;
  Daemon node_{directory_ / "a"};
};

TEST_F(HostileTest, PeerThatIsNotMemPool) {
  RawPeer browser(node_.port());
  browser.send(bytes_of("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"));
  EXPECT_EQ(refusal(browser), Code::kProtocol);
  EXPECT_TRUE(browser.ended());
  expect_sound();
}

TEST_F(HostileTest, PeerOfAnotherVersion) {
  auto bytes = frame(encode(client_hello()));
  bytes[4] = std::byte{9};
  RawPeer peer(node_.port());
  peer.send(bytes);
  EXPECT_EQ(refusal(peer), Code::kVersionMismatch);
  EXPECT_TRUE(peer.ended());
  expect_sound();
}

TEST_F(HostileTest, PeerOfAnotherCluster) {
  Hello hello = client_hello();
  hello.cluster += 1;
  RawPeer peer(node_.port());
  peer.send(frame(encode(hello)));
  EXPECT_EQ(refusal(peer), Code::kWrongCluster);
  EXPECT_TRUE(peer.ended());
  expect_sound();
}

TEST_F(HostileTest, OversizedFramesAreRefusedBeforeTheyCome) {
  for (const auto& [message, payload] : {std::pair(0xFFFFFFFFU, 0U), std::pair(100U, 0xFFFFFFFFU),
                                         std::pair(transport::kMaxMessageBytes + 1, 0U),
                                         std::pair(100U, transport::kMaxPayloadBytes + 1)}) {
    const auto header = transport::encode_frame_header({message, payload});
    RawPeer stranger(node_.port());
    stranger.send(header);
    EXPECT_EQ(refusal(stranger), Code::kProtocol);
    EXPECT_TRUE(stranger.ended());
    RawPeer known = session();
    known.send(header);
    EXPECT_EQ(refusal(known), Code::kProtocol);
    EXPECT_TRUE(known.ended());
  }
  expect_sound();
}

TEST_F(HostileTest, OutOfPlaceMessages) {
  // A request, and a reply, before the hello.
  for (const auto& bytes : {frame(encode(Request{.id = 1, .op = Op::kStats})),
                            frame(encode(Reply{})), frame(encode(client_hello()), pattern(10))}) {
    RawPeer peer(node_.port());
    peer.send(bytes);
    EXPECT_EQ(refusal(peer), Code::kProtocol);
    EXPECT_TRUE(peer.ended());
  }
  // A reply, and a second hello, in a session.
  for (const auto& bytes : {frame(encode(Reply{})), frame(encode(client_hello()))}) {
    RawPeer peer = session();
    peer.send(bytes);
    EXPECT_EQ(refusal(peer), Code::kProtocol);
    EXPECT_TRUE(peer.ended());
  }
  expect_sound();
}

TEST_F(HostileTest, EmptyAndForeignMessages) {
  RawPeer empty(node_.port());
  empty.send(frame({}));
  EXPECT_EQ(refusal(empty), Code::kProtocol);
  RawPeer noise(node_.port());
  noise.send(frame(pattern(1000, 4)));
  EXPECT_EQ(refusal(noise), Code::kProtocol);
  expect_sound();
}

TEST_F(HostileTest, HalfFramesEndWithTheirSender) {
  const auto hello = frame(encode(client_hello()));
  for (std::size_t size :
       {std::size_t{0}, std::size_t{1}, std::size_t{15}, std::size_t{16}, hello.size() - 1}) {
    RawPeer peer(node_.port());
    peer.send(std::span(hello).first(size));
    peer.finish_sending();
    EXPECT_TRUE(peer.ended()) << size;
  }
  const auto request = frame(encode(Request{.op = Op::kSet, .length = 1000}), pattern(1000));
  for (std::size_t size : {std::size_t{10}, request.size() - 1000, request.size() - 1}) {
    RawPeer peer = session();
    peer.send(std::span(request).first(size));
    peer.finish_sending();
    EXPECT_TRUE(peer.ended()) << size;
  }
  expect_sound();
}

TEST_F(HostileTest, SilentPeersAreDropped) {
  RawPeer nothing(node_.port());
  RawPeer half(node_.port());
  const auto hello = frame(encode(client_hello()));
  half.send(std::span(hello).first(20));
  EXPECT_TRUE(nothing.ended(15s)) << "no hello, five seconds";
  EXPECT_TRUE(half.ended(15s));
  expect_sound();
}

TEST_F(HostileTest, RequestsThatCannotBe) {
  RawPeer peer = session();
  const BlobId id = life(peer);
  BlobId other = id;
  const auto refused = [&](const Request& request, Code expected, const Bytes& payload = {}) {
    EXPECT_EQ(ask(peer, request, payload), expected)
        << "operation " << static_cast<int>(request.op);
  };
  refused({.id = 1, .op = static_cast<Op>(200), .blob = id}, Code::kUnsupported);
  refused({.id = 2, .op = static_cast<Op>(0), .blob = id}, Code::kUnsupported);
  refused({.id = 3, .op = Op::kSet, .length = 5}, Code::kProtocol, pattern(6));
  refused({.id = 4, .op = Op::kSet, .length = ~0ULL}, Code::kProtocol);
  refused({.id = 5, .op = Op::kSetBegin, .length = ~0ULL}, Code::kNoSpace);
  refused({.id = 6, .op = Op::kSetChunk, .blob = {0, 0, 0, 77}}, Code::kProtocol, pattern(6));
  refused({.id = 7, .op = Op::kSetCommit, .blob = {0, 0, 0, 77}}, Code::kProtocol);
  refused({.id = 8, .op = Op::kRead, .blob = id, .offset = 900, .length = 101},
          Code::kInvalidArgument);
  refused({.id = 9, .op = Op::kRead, .blob = id, .offset = ~0ULL, .length = 2},
          Code::kInvalidArgument);
  refused({.id = 10, .op = Op::kRead, .blob = id, .length = ~0ULL}, Code::kInvalidArgument);
  other.cluster += 1;
  refused({.id = 11, .op = Op::kLocate, .blob = other}, Code::kWrongCluster);
  other = id;
  other.incarnation += 1;
  refused({.id = 12, .op = Op::kDelete, .blob = other}, Code::kStaleReference);
  other = id;
  other.object = ~0ULL;
  refused({.id = 13, .op = Op::kToDisk, .blob = other}, Code::kNotFound);
  // Only files that the node wrote are readable through it.
  refused({.id = 14, .op = Op::kReadFile, .length = 10, .file = {"/etc/passwd", 0, 10, id}},
          Code::kCorrupt);
  refused({.id = 15, .op = Op::kReadFile, .length = 10, .file = {"/etc/passwd", 0, 10, {}}},
          Code::kNotFound);
  refused({.id = 16, .op = Op::kAdopt, .file = {"/etc/passwd", 4096, 10, id}}, Code::kCorrupt);
  refused({.id = 17, .op = Op::kAdopt}, Code::kInvalidArgument);
  refused({.id = 18, .op = Op::kDelete, .blob = id}, Code::kOk);
  { RawPeer gone = std::move(peer); }
  expect_sound();
}

TEST_F(HostileTest, ReportsOfReadsThatNeverWere) {
  constexpr std::size_t kMostObjects = 4096;
  {
    RawPeer peer = session();
    const auto ref = set(peer, pattern(1000, 1));
    const auto report = [&](const Bytes& ids) {
      return ask(peer, {.id = 1, .op = Op::kTouch}, ids);
    };
    EXPECT_EQ(report({}), Code::kOk);
    EXPECT_EQ(report(Bytes(8)), Code::kOk);
    EXPECT_EQ(report(pattern(8 * 100)), Code::kOk) << "blobs that are no more are nobody's mistake";
    Bytes known(8 * kMostObjects);
    for (std::size_t at = 0; at < known.size(); at += 8)
      std::memcpy(known.data() + at, &ref.id.object, 8);
    EXPECT_EQ(report(known), Code::kOk);
    for (std::size_t odd :
         {std::size_t{1}, std::size_t{7}, std::size_t{9}, std::size_t{8 * 4095 + 1}})
      EXPECT_EQ(report(pattern(odd)), Code::kInvalidArgument) << odd;
    EXPECT_EQ(report(Bytes(8 * kMostObjects + 8)), Code::kInvalidArgument);
    EXPECT_EQ(report(Bytes(transport::kMaxPayloadBytes)), Code::kInvalidArgument);
    EXPECT_EQ(ask(peer, {.id = 2, .op = Op::kDelete, .blob = ref.id}), Code::kOk);
  }
  expect_sound();
}

TEST_F(HostileTest, DraftsEndWithTheirSession) {
  {
    RawPeer peer = session();
    for (std::uint64_t i = 0; i < 10; ++i) {
      const BlobId draft{0, 0, 0, i};
      EXPECT_EQ(ask(peer, {.id = i, .op = Op::kSetBegin, .blob = draft, .length = 5 * kMiB}),
                Code::kOk);
      EXPECT_EQ(ask(peer, {.id = i, .op = Op::kSetChunk, .blob = draft}, pattern(1000)), Code::kOk);
    }
    EXPECT_EQ(ask(peer, {.id = 19, .op = Op::kSetBegin, .blob = {0, 0, 0, 1}, .length = 5}),
              Code::kProtocol)
        << "begun twice";
    // A commit of less than it said, and a part of more.
    EXPECT_EQ(ask(peer, {.id = 20, .op = Op::kSetCommit, .blob = {0, 0, 0, 1}}),
              Code::kInvalidArgument);
    const BlobId small{0, 0, 0, 11};
    EXPECT_EQ(ask(peer, {.id = 21, .op = Op::kSetBegin, .blob = small, .length = 10}), Code::kOk);
    EXPECT_EQ(ask(peer, {.id = 22, .op = Op::kSetChunk, .blob = small}, pattern(11)),
              Code::kInvalidArgument);
    EXPECT_NE(ask(peer, {.id = 23, .op = Op::kSetCommit, .blob = small}), Code::kOk);
  }
  expect_sound();
}

TEST_F(HostileTest, DraftsOfASessionAreBounded) {
  {
    RawPeer peer = session();
    Code last = Code::kOk;
    std::uint64_t drafts = 0;
    for (; drafts < 1000 && last == Code::kOk; ++drafts)
      last = ask(peer, {.id = 1, .op = Op::kSetBegin, .blob = {0, 0, 0, drafts}, .length = 1});
    EXPECT_EQ(last, Code::kLimit);
    EXPECT_LT(drafts, 100U);
  }
  expect_sound();
}

/// A node is told where to read; nothing that it is told makes it fail, or leave its peer's host.
TEST_F(HostileTest, SourcesThatCannotBe) {
  const BlobId draft{0, 0, 0, 1};
  const auto pull = [&](RawPeer& peer, std::uint64_t offset, std::uint64_t length) {
    return ask(peer,
               {.id = 2, .op = Op::kSetPull, .blob = draft, .offset = offset, .length = length});
  };
  const auto name_source = [&](RawPeer& peer, const transport::ProviderOffer& source) {
    Request request{.id = 1, .op = Op::kSource, .length = 8 * kMiB};
    request.source = source;
    return ask(peer, request);
  };
  for (const auto& provider : node_.providers()) {
    RawPeer peer = session();
    EXPECT_EQ(pull(peer, 0, 1), Code::kProtocol) << "of nothing into nothing";
    EXPECT_EQ(ask(peer, {.id = 3, .op = Op::kSetBegin, .blob = draft, .length = 5 * kMiB}),
              Code::kOk);
    EXPECT_EQ(pull(peer, 0, 1), Code::kProtocol) << "of nothing";
    EXPECT_EQ(name_source(peer, {}), Code::kInvalidArgument);
    EXPECT_EQ(name_source(peer, loopback_source("nonsense", 1)), Code::kNoProvider);
    auto elsewhere = loopback_source(provider, 9);
    elsewhere.address[4] = std::byte{10};
    EXPECT_EQ(name_source(peer, elsewhere), Code::kInvalidArgument);
    elsewhere.address.resize(15);
    EXPECT_EQ(name_source(peer, elsewhere), Code::kInvalidArgument);
    elsewhere.address = {};
    EXPECT_EQ(name_source(peer, elsewhere), Code::kInvalidArgument);
    // A port where nobody is, or somebody who is no fabric.
    EXPECT_EQ(name_source(peer, loopback_source(provider, node_.port())), Code::kOk);
    EXPECT_EQ(name_source(peer, loopback_source(provider, 9)), Code::kProtocol) << "named twice";
    EXPECT_EQ(pull(peer, 0, 1), Code::kUnavailable);
    EXPECT_EQ(pull(peer, 0, 1), Code::kUnavailable);
    EXPECT_EQ(ask(peer, {.id = 4, .op = Op::kSetCommit, .blob = draft}), Code::kUnavailable);
  }
  {
    RawPeer peer = session();
    EXPECT_EQ(name_source(peer, loopback_source(node_.providers().front(), 9)), Code::kOk);
    const auto refused = [&](std::uint64_t offset, std::uint64_t length) {
      EXPECT_EQ(ask(peer, {.id = 3, .op = Op::kSetBegin, .blob = draft, .length = 5 * kMiB}),
                Code::kOk);
      EXPECT_EQ(pull(peer, offset, length), Code::kInvalidArgument);
      EXPECT_EQ(ask(peer, {.id = 4, .op = Op::kSetCommit, .blob = draft, .release = true}),
                Code::kOk);
    };
    refused(0, kMiB + 1);
    refused(0, ~0ULL);
    refused(8 * kMiB, 1);
    refused(~0ULL, 1);
    refused(~0ULL, ~0ULL);
  }
  expect_sound();
}

/// Whoever asks without ever reading must not make the node keep answers without end.
TEST_F(HostileTest, PeerThatNeverReadsIsHeldBack) {
  {
    RawPeer peer = session();
    Bytes many;
    for (std::uint64_t i = 0; i < 1000; ++i) {
      const auto one = frame(encode(Request{.id = i, .op = Op::kNodes}));
      many.insert(many.end(), one.begin(), one.end());
    }
    const auto before = resident_bytes(node_.pid());
    std::size_t taken = 0;
    constexpr std::size_t kEnough = 64 * kMiB;  // far beyond what sockets hold
    while (taken < kEnough) {
      const auto sent = peer.send(many, 1s);
      taken += sent;
      if (sent < many.size()) break;
    }
    EXPECT_LT(taken, kEnough) << "the node goes on reading";
    // The address sanitizer keeps freed memory for a while.
    if (!kSanitized) {
      EXPECT_LT(resident_bytes(node_.pid()), before + 64 * kMiB);
    }
  }
  expect_sound();
}

TEST_F(HostileTest, FlippedBitsInHellos) {
  Hello hello = client_hello();
  hello.address = "127.0.0.1:1";
  hello.node = 7;
  hello.providers = {{"net", pattern(16), {1, 2}, {3, 4}}};
  hello.members = {{8, "127.0.0.1:2", 9, true, {"net"}}};
  const auto good = frame(encode(hello));
  std::mt19937_64 random(7);
  for (int round = 0; round < (kSanitized ? 150 : 400); ++round) {
    auto bad = good;
    for (std::uint64_t flips = 1 + random() % 8; flips > 0; --flips)
      bad[random() % bad.size()] ^= std::byte{1} << (random() % 8);
    RawPeer peer(node_.port());
    peer.send(bad);
    peer.finish_sending();
    EXPECT_TRUE(peer.ended()) << "round " << round;
  }
  expect_sound();
}

TEST_F(HostileTest, FlippedBitsInRequests) {
  RawPeer honest = session();
  const auto ref = set(honest, pattern(10'000, 1));
  std::vector<Bytes> good;
  for (int op = 0; op <= static_cast<int>(Op::kSetPull) + 1; ++op) {
    Request request{.id = 1, .op = static_cast<Op>(op), .blob = ref.id, .length = 100};
    request.options.type_name = "type";
    request.file = {"/tmp/none.blob", 4096, 100, ref.id};
    request.source = loopback_source("net", 1);
    // Deleting by chance would be right, and make the rest say NotFound.
    if (request.op == Op::kDelete) request.blob.object += 1000;
    good.push_back(frame(encode(request), request.op == Op::kSet ? pattern(100) : Bytes{}));
  }
  std::mt19937_64 random(11);
  for (int round = 0; round < (kSanitized ? 150 : 400); ++round) {
    auto bad = good[random() % good.size()];
    for (std::uint64_t flips = 1 + random() % 6; flips > 0; --flips)
      bad[random() % bad.size()] ^= std::byte{1} << (random() % 8);
    RawPeer peer = session();
    peer.send(bad);
    peer.finish_sending();
    EXPECT_TRUE(peer.ended()) << "round " << round;
  }
  // What was set by requests that were still right is there; the honest blob is as it was.
  honest.send(frame(encode(Request{.id = 5, .op = Op::kRead, .blob = ref.id, .length = 10'000})));
  const auto answer = receive(honest);
  ASSERT_TRUE(answer);
  EXPECT_TRUE(same(answer->payload, pattern(10'000, 1)));
  EXPECT_TRUE(node_.running());
}

}  // namespace
}  // namespace mempool::test
