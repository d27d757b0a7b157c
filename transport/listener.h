// Listener: accepts control connections, exchanges hellos, and hands requests to a Service.
//
// Bounds: at most kMaxSessions sessions, kMaxInFlight requests of one session that are not answered
// (then its socket is not read), frames as frame.h limits them; a peer that does not say hello in
// kHelloTimeout_ms, or that neither sends nor takes anything for a whole lease while nothing is at
// work for it, is dropped. Blocking requests run on a few workers.
//
// Thread safety: the counters from any thread; the rest from the owner's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "transport/address.h"
#include "transport/service.h"

namespace mempool::transport {

class IoThread;

class Listener {
 public:
  static constexpr std::size_t kMaxSessions = 1024;
  static constexpr std::size_t kMaxInFlight = 16;
  static constexpr std::uint32_t kHelloTimeout_ms = 5000;
  static constexpr std::uint32_t kLease_ms = 10'000;

  /// Binds but does not yet answer, so that the port is known before the service is complete. The
  /// host is a number.
  static Result<std::unique_ptr<Listener>> bind(IoThread& io, const HostPort& where);
  /// Closes all sessions and waits for requests at work; their disk writes finish.
  ~Listener();

  const HostPort& where() const noexcept;  // with the real port
  /// `service` outlives the listener.
  void serve(Service& service);
  /// Before the I/O thread stops; once is enough, and the destructor does it too.
  void close();

  std::uint64_t sessions() const noexcept;
  std::uint64_t requests_served() const noexcept;  // without pings and reports of recency
  std::uint64_t recency_reports() const noexcept;

  struct State;  // shared with the I/O thread

 private:
  explicit Listener(std::shared_ptr<State> state) noexcept;
  std::shared_ptr<State> state_;
  bool closed_ = false;
};

}  // namespace mempool::transport
