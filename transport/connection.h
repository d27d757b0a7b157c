// Connection: the client's side of a session on a control connection.
//
// A session is born in the hello, carries liveness (a ping in every third of the lease) and dies
// with the connection. Requests of many threads share it; replies are matched by request id, so a
// long request holds up no other.
//
// Thread safety: every call from any thread. Memory handed to start() is used until its Call is
// done; Call::wait() returns only then, also when it returns Timeout.
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <span>
#include <stop_token>
#include <string>
#include <vector>

#include "transport/messages.h"

namespace mempool::transport {

class IoThread;

using Clock = std::chrono::steady_clock;

class Connection {
 public:
  /// Connects, exchanges hellos, and answers with the peer's reason where it refuses.
  /// `lost` is called once on the I/O thread when an established connection ends; may be empty.
  static Result<std::shared_ptr<Connection>> connect(IoThread& io, const std::string& host_port,
                                                     const Hello& mine, Clock::time_point deadline,
                                                     std::function<void()> lost);
  /// Closes; calls under way end with Unavailable.
  ~Connection();

  const Hello& peer() const noexcept;
  /// The address at which it was reached, as a number.
  const std::string& host() const noexcept;
  bool alive() const noexcept;
  /// Stops when the peer is gone, as far as an established connection tells: for those who wait for
  /// it by other means. As long as the connection.
  const std::stop_token& ended() const noexcept;
  void close() noexcept;

  class Call {
   public:
    struct State;
    explicit Call(std::shared_ptr<State> state) noexcept : state_(std::move(state)) {}
    /// The reply, or its error, or Timeout, or Unavailable. Once.
    Result<Reply> wait(Clock::time_point deadline);

   private:
    std::shared_ptr<State> state_;
  };

  /// `payload` follows the request; the reply's payload goes to `into` (one that does not fit is
  /// Protocol and ends the connection).
  Call start(Request request, std::span<const std::byte> payload = {},
             std::span<std::byte> into = {});

  Result<Reply> call(Request request, Clock::time_point deadline,
                     std::span<const std::byte> payload = {}, std::span<std::byte> into = {}) {
    return start(std::move(request), payload, into).wait(deadline);
  }

  /// Sends a request whose answer nobody waits for.
  void tell(Request request, std::vector<std::byte> payload);

  struct State;  // shared with the I/O thread

 private:
  explicit Connection(std::shared_ptr<State> state) noexcept;
  std::shared_ptr<State> state_;
};

}  // namespace mempool::transport
