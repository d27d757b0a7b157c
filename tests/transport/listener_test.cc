// A node's side of a control connection, against clients that keep it busy.
#include "transport/listener.h"

#include <atomic>
#include <memory>
#include <semaphore>
#include <thread>
#include <variant>

#include <gmock/gmock.h>

#include "frames.h"
#include "support/bytes.h"
#include "support/eventually.h"
#include "support/files.h"
#include "support/raw_peer.h"
#include "support/results.h"
#include "transport/connection.h"
#include "transport/io_thread.h"

namespace mempool::transport {
namespace {

using test::must;
using test::RawPeer;

/// Answers operations that may make room, and those with a file to check (which their length names
/// here), when it is told to, and others at once.
class SlowService final : public Service {
 public:
  Result<Accepted> accept(const Hello&, const std::string&) override {
    return Accepted{{}, std::make_unique<Handler>(*this)};
  }
  void answer(std::ptrdiff_t requests) { answers_.release(requests); }
  std::size_t begun() const { return begun_; }

 private:
  class Handler final : public SessionHandler {
   public:
    explicit Handler(SlowService& service) : service_(service) {}
    std::optional<Reply> handle_at_once(const Request&) override { return std::nullopt; }
    std::optional<std::size_t> file_to_check(const Request& request) override {
      if (request.length == 0) return std::nullopt;
      return request.length;
    }
    Reply handle(Request& request) override {
      if (!may_make_room(request.op) && request.length == 0) return {};
      ++service_.begun_;
      (void)service_.answers_.try_acquire_for(test::kPatience);
      return {};
    }

   private:
    SlowService& service_;
  };

  std::atomic<std::size_t> begun_{0};
  std::counting_semaphore<> answers_{0};
};

class ListenerTest : public ::testing::Test {
 protected:
  ListenerTest() { listener_->serve(service_); }
  RawPeer client() {
    RawPeer peer(listener_->where().port);
    peer.send(test::frame(encode(test::client_hello())));
    if (!test::receive(peer)) throw std::runtime_error("no hello");
    return peer;
  }
  /// With requests that make room: all workers have one, and as many wait.
  RawPeer keep_workers_busy();

  static constexpr std::size_t kWorkers = 8;
  SlowService service_;
  IoThread io_;
  std::unique_ptr<Listener> listener_ = must(Listener::bind(io_, {"127.0.0.1", 0}));
};

void ask(RawPeer& peer, Op op, std::uint64_t id, std::uint64_t file = 0) {
  peer.send(test::frame(encode(Request{.id = id, .op = op, .length = file})));
}

RawPeer ListenerTest::keep_workers_busy() {
  auto busy = client();
  for (std::uint64_t id = 0; id < Listener::kMaxInFlight; ++id) ask(busy, Op::kSet, id);
  if (!test::eventually([&] { return service_.begun() == kWorkers; }))
    throw std::runtime_error("workers idle");
  return busy;
}

std::uint64_t next_reply(RawPeer& peer) {
  const auto message = test::receive(peer);
  const auto* reply = message ? std::get_if<Reply>(&message->message) : nullptr;
  if (!reply) throw std::runtime_error("the node hung up");
  return reply->id;
}

/// Its socket is not read then, so that no ping of a client would be answered.
TEST_F(ListenerTest, AClientWithAsManyRequestsAsMayBeHearsThatTheNodeLives) {
  auto busy = keep_workers_busy();
  EXPECT_EQ(next_reply(busy), kNoRequest);
  EXPECT_EQ(next_reply(busy), kNoRequest) << "as long as it lasts";
  service_.answer(Listener::kMaxInFlight);
  for (std::size_t answered = 0; answered < Listener::kMaxInFlight;)
    if (next_reply(busy) != kNoRequest) ++answered;
}

/// Behind it no ping would be read. The signs of life are the client's clock: it is busy with one
/// payload for longer than a lease.
TEST_F(ListenerTest, APayloadThatComesSlowlyIsNoSilence) {
  constexpr std::size_t kSigns = 12;
  const auto begin = Clock::now();
  auto slow = client();
  const auto frame =
      test::frame(encode(Request{.id = 7, .op = Op::kTouch}), test::pattern(8 * kSigns));
  const auto parts = std::span(frame).last(kSigns);
  slow.send(std::span(frame).first(frame.size() - parts.size()));
  for (std::size_t i = 0; i < kSigns; ++i) {
    ASSERT_EQ(next_reply(slow), kNoRequest);
    slow.send(parts.subspan(i, 1));
  }
  auto answered = kNoRequest;
  while (answered == kNoRequest) answered = next_reply(slow);
  EXPECT_EQ(answered, 7U);
  EXPECT_GT(Clock::now() - begin, std::chrono::milliseconds(Listener::kLease_ms));
}

/// Whatever signs of life the system takes for it.
TEST_F(ListenerTest, AClientThatStandsStillInAPayloadIsDropped) {
  auto still = client();
  const auto frame = test::frame(encode(Request{.id = 7, .op = Op::kTouch}), test::pattern(800));
  still.send(std::span(frame).first(frame.size() - 1));
  EXPECT_TRUE(still.ended());
}

TEST_F(ListenerTest, WhatNeedsNoRoomDoesNotWaitForWhatMakesSome) {
  const auto busy = keep_workers_busy();
  auto other = client();
  for (const Op op : {Op::kDelete, Op::kRead, Op::kStats}) {
    ask(other, op, 5);
    EXPECT_EQ(next_reply(other), 5U);
  }
  service_.answer(Listener::kMaxInFlight);
}

/// Whoever asks for parts of it, from however many sessions.
TEST_F(ListenerTest, FilesThatAreCheckedKeepNoPromptWorker) {
  constexpr std::uint64_t kFiles = 20;
  auto patient = client();
  ask(patient, Op::kRead, 1, /*file=*/1);
  ASSERT_TRUE(test::eventually([&] { return service_.begun() == 1; }));
  std::vector<RawPeer> readers;
  for (std::uint64_t session = 0; session < 10; ++session) {
    readers.push_back(client());
    for (std::uint64_t id = 0; id < Listener::kMaxInFlight; ++id)
      ask(readers.back(), id % 2 ? Op::kRead : Op::kReadFile, id, /*file=*/1);
  }
  auto other = client();
  for (const Op op : {Op::kDelete, Op::kRead, Op::kReadFile, Op::kStats}) {
    ask(other, op, 5);
    EXPECT_EQ(next_reply(other), 5U);
  }
  EXPECT_EQ(service_.begun(), 1U) << "of one file one at a time";
  // More files than there are prompt workers.
  for (std::uint64_t file = 2; file < kFiles; ++file) ask(patient, Op::kRead, file, file);
  for (const Op op : {Op::kDelete, Op::kRead, Op::kReadFile, Op::kStats}) {
    ask(other, op, 6);
    EXPECT_EQ(next_reply(other), 6U);
  }
  service_.answer(10 * Listener::kMaxInFlight + kFiles);
}

TEST_F(ListenerTest, WhatWaitsForAWorkerIsNotBegunWhenTheNodeCloses) {
  auto busy = keep_workers_busy();
  std::thread closing([&] { listener_->close(); });
  EXPECT_TRUE(busy.ended());
  service_.answer(Listener::kMaxInFlight);
  closing.join();
  EXPECT_EQ(service_.begun(), kWorkers);
}

/// Such a program would keep the port, and hide from peers that this process ended.
TEST(ControlSockets, AreNotInheritedByProgramsThatTheProcessStarts) {
  const auto before = test::inheritable_sockets();
  SlowService service;
  IoThread io;
  const auto listener = must(Listener::bind(io, {"127.0.0.1", 0}));
  listener->serve(service);
  const auto connection =
      must(Connection::connect(io, listener->where().to_string(), test::client_hello(),
                               Clock::now() + test::kPatience, nullptr));
  EXPECT_EQ(listener->sessions(), 1U);
  EXPECT_EQ(test::inheritable_sockets(), before);
}

}  // namespace
}  // namespace mempool::transport
