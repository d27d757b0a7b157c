// A control connection and callers whose time is over, against a peer that answers late.
#include "transport/connection.h"

#include <algorithm>
#include <semaphore>
#include <thread>
#include <variant>

#include <asio/post.hpp>
#include <gtest/gtest.h>

#include "frames.h"
#include "support/raw_peer.h"
#include "support/results.h"
#include "transport/io_thread.h"

namespace mempool::transport {
namespace {

using namespace std::chrono_literals;
using test::Bytes;
using test::code;
using test::must;
using test::RawPeer;

/// Answers each kRead, once it is told to, with as many bytes of one value as are asked for.
class LateServer {
 public:
  static constexpr std::byte kSent{0xA5};

  std::string address() const { return server_.address(); }
  void answer() { answers_.release(); }

 private:
  void serve(RawPeer& peer) {
    if (!test::receive(peer)) return;
    Hello hello;
    hello.lease_ms = 600'000;
    peer.send(test::frame(encode(hello)));
    while (const auto message = test::receive(peer)) {
      const auto* request = std::get_if<Request>(&message->message);
      if (!request) return;
      if (request->op == Op::kRead && !answers_.try_acquire_for(test::kPatience)) return;
      Reply reply;
      reply.id = request->id;
      const Bytes payload(request->op == Op::kRead ? request->length : 0, kSent);
      peer.send(test::frame(encode(reply), payload));
    }
  }

  std::counting_semaphore<> answers_{0};
  test::RawServer server_{[this](RawPeer& peer) { serve(peer); }};
};

TEST(ConnectionTest, MemoryOfACallWhoseTimeIsOverIsNotWrittenLater) {
  LateServer server;
  IoThread io;
  const auto deadline = [] { return Clock::now() + test::kPatience; };
  const auto connection =
      must(Connection::connect(io, server.address(), Hello{}, deadline(), nullptr));
  for (int round = 0; round < 20; ++round) {
    Bytes late(test::kMiB);
    const Request read{.op = Op::kRead, .length = late.size()};
    // A thread that is busy finds the request and its end together: then it is given up while the
    // socket has it.
    if (round % 2 == 0) asio::post(io.context(), [] { std::this_thread::sleep_for(2ms); });
    EXPECT_EQ(code(connection->call(read, Clock::now(), {}, late)), Code::kTimeout);
    server.answer();
    // It was answered when the next one is, or was never sent.
    Bytes next(1);
    server.answer();
    must(connection->call({.op = Op::kRead, .length = 1}, deadline(), {}, next));
    EXPECT_EQ(next.front(), LateServer::kSent);
    EXPECT_EQ(std::ranges::count(late, LateServer::kSent), 0) << "round " << round;
  }
}

/// The pings are its clock: with each of them it sends one byte of the first payload asked for.
void serve_slowly(RawPeer& peer, std::uint32_t lease_ms) {
  if (!test::receive(peer)) return;
  Hello hello;
  hello.lease_ms = lease_ms;
  peer.send(test::frame(encode(hello)));
  std::size_t left = 0;
  while (const auto message = test::receive(peer)) {
    const auto* request = std::get_if<Request>(&message->message);
    if (!request) return;
    if (request->op == Op::kRead) {
      Reply reply;
      reply.id = request->id;
      left = request->length;
      const auto frame = test::frame(encode(reply), Bytes(left));
      peer.send(std::span(frame).first(frame.size() - left));
    } else if (left > 0) {
      peer.send(Bytes(1));
      --left;
    }
  }
}

TEST(ConnectionTest, APayloadThatComesSlowlyIsNoSilence) {
  constexpr std::uint32_t kLease_ms = 2400;
  test::RawServer server([](RawPeer& peer) { serve_slowly(peer, kLease_ms); });
  IoThread io;
  const auto begin = Clock::now();
  const auto connection = must(
      Connection::connect(io, server.address(), Hello{}, Clock::now() + test::kPatience, nullptr));
  Bytes into(5, std::byte{1});  // more pings than a lease has
  must(connection->call({.op = Op::kRead, .length = into.size()}, begin + test::kPatience, {},
                        into));
  EXPECT_EQ(into, Bytes(into.size()));
  EXPECT_GT(Clock::now() - begin, std::chrono::milliseconds(kLease_ms)) << "it was not slow";
  EXPECT_TRUE(connection->alive());
}

}  // namespace
}  // namespace mempool::transport
