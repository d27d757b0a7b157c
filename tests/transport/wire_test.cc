// Messages and frames: round trips, and damage, which is never more than an error.
#include "transport/wire.h"

#include <climits>
#include <cstring>
#include <limits>
#include <random>

#include <gtest/gtest.h>

#include "support/bytes.h"
#include "support/child.h"
#include "support/results.h"
#include "transport/frame.h"

namespace mempool::transport {
namespace {

using test::code;
using test::must;
using test::pattern;

Hello full_hello() {
  Hello hello;
  hello.cluster = 1;
  hello.node = 2;
  hello.incarnation = 3;
  hello.session_high = 4;
  hello.session_low = 5;
  hello.address = "127.0.0.1:7700";
  hello.authentication = pattern(32);
  hello.providers = {{"net", pattern(16), {6, 7}, {8, 9}},
                     {"sockets", pattern(28), {1, 2}, {3, 4}}};
  hello.region_bytes = {1 << 20, 1 << 30};
  hello.read_window_ms = 250;
  hello.quarantine_ms = 1000;
  hello.lease_ms = 10'000;
  hello.members = {{10, "node7:1", 11, true, {"net", "tcp"}, "::1"}, {12, "", 13, false, {}}};
  hello.door = "mempool-0123456789abcdef";
  hello.bound = "127.0.0.1";
  return hello;
}

Request full_request(Op op = Op::kSet) {
  Request request;
  request.id = 1;
  request.op = op;
  request.blob = {2, 3, 4, 5};
  request.offset = 6;
  request.length = 7;
  request.release = true;
  request.timeout_ms = 8;
  request.options = {.type_name = "type", .drop_on_evict = true, .retain = true};
  request.file = {"/a/b.blob", 9, 10, {11, 12, 13, 14}};
  request.peek = true;
  request.source = {"net", {std::byte{1}, std::byte{2}}, {3}, {4}};
  return request;
}

Reply full_reply() {
  Reply reply;
  reply.id = 1;
  reply.code = Code::kNoSpace;
  reply.message = "the disk is full";
  reply.ref = {{1, 2, 3, 4}, 5, {6, 7, 8}};
  reply.file = {"/a/b.blob", 9, 10, {11, 12, 13, 14}};
  reply.stamp = {~0ULL, 16, 17, -18, std::numeric_limits<std::int64_t>::max()};
  reply.info.type_name = "type";
  reply.info.in_memory = true;
  reply.info.on_disk = true;
  reply.info.pins = 3;
  reply.info.drop_on_evict = true;
  reply.info.retain = true;
  reply.info.file = "/a/b.blob";
  reply.nodes = full_hello().members;
  reply.stats.node = 77;
  reply.stats.store = {.payload_bytes = 1,
                       .max_memsize = 2,
                       .capacity_bytes = 3,
                       .blobs = 4,
                       .blobs_in_memory = 5,
                       .blobs_on_disk = 6,
                       .disk_bytes = 7,
                       .max_disksize = 8,
                       .spilled_bytes = 9,
                       .hits = 10,
                       .misses = 11,
                       .evictions = 12,
                       .fragmentation_evictions = 13,
                       .quarantined_bytes = 14,
                       .pinned_blobs = 15};
  reply.stats.gets_by_path["tcp (net)"] = {16, 17};
  reply.stats.requests_served = 18;
  reply.stats.sessions = 19;
  reply.stats.rss_bytes = 20;
  reply.stats.recency_reports = 21;
  reply.stats.retries["late"] = 22;
  reply.stats.path_changes = 23;
  return reply;
}

/// What a peer makes of a message.
template <class Message>
Message received(const Message& sent) {
  return std::get<Message>(must(decode(encode(sent))));
}

TEST(Wire, HelloRoundTrips) {
  const Hello sent = full_hello();
  const auto back = received(sent);
  EXPECT_EQ(back.cluster, sent.cluster);
  EXPECT_EQ(back.node, sent.node);
  EXPECT_EQ(back.incarnation, sent.incarnation);
  EXPECT_EQ(back.session_high, sent.session_high);
  EXPECT_EQ(back.session_low, sent.session_low);
  EXPECT_EQ(back.address, sent.address);
  EXPECT_EQ(back.authentication, sent.authentication);
  ASSERT_EQ(back.providers.size(), 2U);
  EXPECT_EQ(back.providers[1].name, "sockets");
  EXPECT_EQ(back.providers[1].address, sent.providers[1].address);
  EXPECT_EQ(back.providers[1].keys, sent.providers[1].keys);
  EXPECT_EQ(back.providers[1].bases, sent.providers[1].bases);
  EXPECT_EQ(back.region_bytes, sent.region_bytes);
  EXPECT_EQ(back.read_window_ms, 250U);
  EXPECT_EQ(back.quarantine_ms, 1000U);
  EXPECT_EQ(back.lease_ms, 10'000U);
  ASSERT_EQ(back.members.size(), 2U);
  EXPECT_EQ(back.members[0].address, "node7:1");
  EXPECT_EQ(back.members[0].bound, "::1");
  EXPECT_EQ(back.members[0].providers, sent.members[0].providers);
  EXPECT_TRUE(back.members[0].alive);
  EXPECT_EQ(back.door, sent.door);
  EXPECT_EQ(back.bound, sent.bound);
}

TEST(Wire, RequestRoundTrips) {
  const Request sent = full_request();
  const auto back = received(sent);
  EXPECT_EQ(back.id, sent.id);
  EXPECT_EQ(back.op, sent.op);
  EXPECT_EQ(back.blob, sent.blob);
  EXPECT_EQ(back.offset, sent.offset);
  EXPECT_EQ(back.length, sent.length);
  EXPECT_TRUE(back.release);
  EXPECT_EQ(back.timeout_ms, sent.timeout_ms);
  EXPECT_EQ(back.options.type_name, "type");
  EXPECT_TRUE(back.options.drop_on_evict);
  EXPECT_TRUE(back.options.retain);
  EXPECT_EQ(back.file, sent.file);
  EXPECT_TRUE(back.peek);
  EXPECT_EQ(back.source.name, "net");
  EXPECT_EQ(back.source.address, sent.source.address);
  EXPECT_EQ(back.source.keys, sent.source.keys);
  EXPECT_EQ(back.source.bases, sent.source.bases);
}

TEST(Wire, EveryOperationRoundTrips) {
  for (int op = static_cast<int>(Op::kPing); op <= static_cast<int>(Op::kSetPull); ++op) {
    const auto back = received(Request{.op = static_cast<Op>(op)});
    EXPECT_EQ(static_cast<int>(back.op), op);
    EXPECT_FALSE(back.peek);
  }
}

TEST(Wire, ReplyRoundTrips) {
  const Reply sent = full_reply();
  const auto back = received(sent);
  EXPECT_EQ(back.id, sent.id);
  EXPECT_EQ(back.code, sent.code);
  EXPECT_EQ(back.message, sent.message);
  EXPECT_EQ(back.ref, sent.ref);
  EXPECT_EQ(back.ref.length, sent.ref.length);
  EXPECT_EQ(back.ref.hint.region, sent.ref.hint.region);
  EXPECT_EQ(back.ref.hint.offset, sent.ref.hint.offset);
  EXPECT_EQ(back.ref.hint.generation, sent.ref.hint.generation);
  EXPECT_EQ(back.file, sent.file);
  EXPECT_EQ(back.stamp.device, sent.stamp.device);
  EXPECT_EQ(back.stamp.inode, sent.stamp.inode);
  EXPECT_EQ(back.stamp.size, sent.stamp.size);
  EXPECT_EQ(back.stamp.modified_ns, sent.stamp.modified_ns);
  EXPECT_EQ(back.stamp.changed_ns, sent.stamp.changed_ns);
  EXPECT_EQ(back.info.type_name, "type");
  EXPECT_EQ(back.info.pins, 3U);
  EXPECT_EQ(back.info.file, sent.info.file);
  EXPECT_EQ(back.nodes.size(), 2U);
  EXPECT_EQ(back.stats.node, 77U);
  EXPECT_EQ(back.stats.store, sent.stats.store);
  EXPECT_EQ(back.stats.gets_by_path, sent.stats.gets_by_path);
  EXPECT_EQ(back.stats.requests_served, 18U);
  EXPECT_EQ(back.stats.sessions, 19U);
  EXPECT_EQ(back.stats.rss_bytes, 20U);
  EXPECT_EQ(back.stats.recency_reports, 21U);
  EXPECT_EQ(back.stats.retries, sent.stats.retries);
  EXPECT_EQ(back.stats.path_changes, 23U);
}

TEST(Wire, EmptyMessagesOfEachKind) {
  EXPECT_EQ(received(Hello{}).node, 0U);
  EXPECT_EQ(received(Hello{}).door, "");
  EXPECT_EQ(received(Request{}).id, 0U);
  EXPECT_EQ(received(Reply{}).code, Code::kOk);
  EXPECT_EQ(received(Reply{}).stamp.inode, 0U);
}

/// A reply that its decoder refuses would end the session for everybody.
TEST(Wire, AnErrorThatRepeatsALongTextKeepsItsBeginningAndItsReason) {
  const std::string begin = "cannot open /", reason = ": no such file";
  for (const std::size_t repeated : {5000, 64 << 10, 1 << 20}) {
    const auto back =
        received(error_reply({Code::kNotFound, begin + std::string(repeated, 'x') + reason}));
    EXPECT_EQ(back.code, Code::kNotFound);
    EXPECT_LE(back.message.size(), 4096U);
    EXPECT_TRUE(back.message.starts_with(begin));
    EXPECT_TRUE(back.message.ends_with("x" + reason));
    EXPECT_NE(back.message.find("x...x"), std::string::npos);
  }
  const std::string whole(4096, 'x');
  EXPECT_EQ(received(error_reply({Code::kNotFound, whole})).message, whole);
}

TEST(Wire, ARequestWithATextThatIsTooLongIsRefused) {
  const auto with_path = [](std::size_t bytes) {
    Request request;
    request.file.path.assign(bytes, 'x');
    return request;
  };
  must(check(with_path(PATH_MAX)));
  EXPECT_EQ(code(check(with_path(PATH_MAX + 1))), Code::kInvalidArgument);
  EXPECT_EQ(code(check(with_path(64 << 10))), Code::kInvalidArgument);
  Request named;
  named.options.type_name.assign((64 << 10) + 1, 'x');
  EXPECT_EQ(code(check(named)), Code::kInvalidArgument);
}

/// Reads all of what a decoder accepted, so that a sanitizer sees what it may touch.
std::size_t touch(const std::variant<Hello, Request, Reply>& message) {
  if (const auto* hello = std::get_if<Hello>(&message)) return encode(*hello).size();
  if (const auto* request = std::get_if<Request>(&message)) return encode(*request).size();
  return encode(std::get<Reply>(message)).size();
}

TEST(Wire, DamageIsAnErrorOrAnotherMessageAndNeverACrash) {
  std::vector<std::vector<std::byte>> good{encode(full_hello()), encode(full_reply()),
                                           encode(Hello{}), encode(Reply{})};
  for (int op = 0; op < 20; ++op) good.push_back(encode(full_request(static_cast<Op>(op))));
  std::mt19937_64 random(1);
  std::size_t refused = 0;
  const int rounds = test::kSanitized ? 300 : 2000;
  for (const auto& message : good)
    for (int round = 0; round < rounds; ++round) {
      auto bad = message;
      if (round % 4 == 0) bad.resize(random() % bad.size());
      for (std::uint64_t flips = random() % 6; flips > 0 && !bad.empty(); --flips)
        bad[random() % bad.size()] ^= std::byte{1} << (random() % 8);
      if (round % 7 == 0 && bad.size() >= 4) {
        const auto word = static_cast<std::uint32_t>(random());
        std::memcpy(bad.data() + random() % (bad.size() - 3), &word, sizeof word);
      }
      const auto decoded = decode(bad);
      if (decoded) {
        EXPECT_GT(touch(*decoded), 0U);
      } else {
        EXPECT_EQ(code(decoded), Code::kProtocol);
        ++refused;
      }
    }
  EXPECT_GT(refused, 1000U);
}

TEST(Wire, NoiseIsRefused) {
  for (std::size_t size = 0; size < 200; ++size)
    EXPECT_EQ(code(decode(pattern(size, size))), Code::kProtocol);
}

TEST(Frame, HeaderRoundTrips) {
  const auto back = must(decode_frame_header(encode_frame_header({12, 34})));
  EXPECT_EQ(back.message_bytes, 12U);
  EXPECT_EQ(back.payload_bytes, 34U);
  must(decode_frame_header(encode_frame_header({kMaxMessageBytes, kMaxPayloadBytes})));
}

TEST(Frame, EveryFlippedBitOfMagicAndVersionIsRefused) {
  const auto good = encode_frame_header({1, 1});
  for (std::size_t bit = 0; bit < 48; ++bit) {
    auto bad = good;
    bad[bit / 8] ^= std::byte{1} << (bit % 8);
    EXPECT_EQ(code(decode_frame_header(bad)), bit < 32 ? Code::kProtocol : Code::kVersionMismatch);
  }
  EXPECT_EQ(code(decode_frame_header(encode_frame_header({kMaxMessageBytes + 1, 0}))),
            Code::kProtocol);
  EXPECT_EQ(code(decode_frame_header(encode_frame_header({0, kMaxPayloadBytes + 1}))),
            Code::kProtocol);
}

}  // namespace
}  // namespace mempool::transport
