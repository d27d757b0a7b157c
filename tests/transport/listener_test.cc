// A node's side of a control connection, against clients that keep it busy.
#include "transport/listener.h"

#include <memory>
#include <semaphore>
#include <variant>

#include <gmock/gmock.h>

#include "frames.h"
#include "support/eventually.h"
#include "support/raw_peer.h"
#include "support/results.h"
#include "transport/io_thread.h"

namespace mempool::transport {
namespace {

using test::must;
using test::RawPeer;

/// Answers no request before it is told to.
class SlowService final : public Service {
 public:
  Result<Accepted> accept(const Hello&, const std::string&) override {
    return Accepted{{}, std::make_unique<Handler>(answers_)};
  }
  void answer(std::ptrdiff_t requests) { answers_.release(requests); }

 private:
  class Handler final : public SessionHandler {
   public:
    explicit Handler(std::counting_semaphore<>& answers) : answers_(answers) {}
    std::optional<Reply> handle_at_once(const Request&) override { return std::nullopt; }
    Reply handle(Request&) override {
      (void)answers_.try_acquire_for(test::kPatience);
      return {};
    }

   private:
    std::counting_semaphore<>& answers_;
  };

  std::counting_semaphore<> answers_{0};
};

std::uint64_t next_reply(RawPeer& peer) {
  const auto message = test::receive(peer);
  const auto* reply = message ? std::get_if<Reply>(&message->message) : nullptr;
  if (!reply) throw std::runtime_error("the node hung up");
  return reply->id;
}

/// Its socket is not read then, so that no ping of a client would be answered.
TEST(ListenerTest, AClientWithAsManyRequestsAsMayBeHearsThatTheNodeLives) {
  SlowService service;
  IoThread io;
  auto listener = must(Listener::bind(io, {"127.0.0.1", 0}));
  listener->serve(service);
  RawPeer client(listener->where().port);
  client.send(test::frame(encode(test::client_hello())));
  ASSERT_TRUE(test::receive(client));

  for (std::uint64_t id = 0; id < Listener::kMaxInFlight; ++id)
    client.send(test::frame(encode(Request{.id = id, .op = Op::kInspect})));
  EXPECT_EQ(next_reply(client), kNoRequest);
  EXPECT_EQ(next_reply(client), kNoRequest) << "as long as it lasts";

  service.answer(Listener::kMaxInFlight);
  for (std::size_t answered = 0; answered < Listener::kMaxInFlight;)
    if (next_reply(client) != kNoRequest) ++answered;
}

}  // namespace
}  // namespace mempool::transport
