// Readiness: how a thread sleeps until a completion queue has something, by the queue's descriptor.
//
// Not every descriptor tells the truth. That of `net` in libfabric 1.17 stays readable after the
// first completion: each of them leaves a byte in a socket inside it, and fi_trywait, which should
// take it out, does nothing. So one that says "readable" several times in a row while nothing is
// found is in doubt, and slept on until something *new* happens to it, which the kernel tells
// (EPOLLET).
//
// Thread safety: stop() from any thread, the rest from the one that sleeps.
#pragma once

#include <mempool/result.h>

namespace mempool::transport {

class Readiness {
 public:
  Readiness() = default;
  Readiness(const Readiness&) = delete;
  Readiness& operator=(const Readiness&) = delete;
  ~Readiness();

  /// Of a descriptor that outlives this. Limit: no descriptor is left.
  Status open(int descriptor);

  /// Sleeps until the descriptor is readable, or stop(); a second at most. `ready_already`:
  /// something else says that it need not sleep, and is believed as far as the descriptor would be.
  void wait(bool ready_already = false);
  /// There was something.
  void was_right() noexcept { doubts_ = 0; }
  /// No wait sleeps any more.
  void stop() noexcept;

 private:
  bool becomes_readable() const;
  bool changes() const;

  int descriptor_ = -1;
  int stop_event_ = -1;
  int edges_ = -1;  // an epoll set of both
  int doubts_ = 0;  // how often in a row there was nothing
};

}  // namespace mempool::transport
