// Peers that speak bytes instead of the protocol: a client that sends what it likes, and a server
// that answers what it likes. Loopback only; every wait is bounded.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <thread>
#include <utility>

#include "support/bytes.h"
#include "support/eventually.h"

namespace mempool::test {

/// A plain TCP connection.
class RawPeer {
 public:
  explicit RawPeer(std::uint16_t port);  // 127.0.0.1
  explicit RawPeer(int socket) : socket_(socket) {}
  RawPeer(RawPeer&& other) noexcept : socket_(std::exchange(other.socket_, -1)) {}
  RawPeer& operator=(RawPeer&&) = delete;
  ~RawPeer();

  /// How much the peer took; less when it hangs up or takes nothing for `limit`.
  std::size_t send(std::span<const std::byte> bytes, Clock::duration limit = kPatience);
  /// Ends this side's sending.
  void finish_sending();
  /// Exactly so many bytes; nothing when the peer hung up before, or at the limit.
  std::optional<Bytes> receive(std::size_t bytes, Clock::duration limit = kPatience);
  /// What comes until the peer hangs up or resets; nothing when it does not in time.
  std::optional<Bytes> receive_all(Clock::duration limit = kPatience);
  /// Whether the peer hung up in time; what it sent is thrown away.
  bool ended(Clock::duration limit = kPatience) { return receive_all(limit).has_value(); }

 private:
  int socket_ = -1;
};

/// Serves connections one after the other with `serve`, on a port of 127.0.0.1, until it goes.
class RawServer {
 public:
  explicit RawServer(std::function<void(RawPeer&)> serve);
  ~RawServer();
  std::uint16_t port() const { return port_; }
  std::string address() const { return "127.0.0.1:" + std::to_string(port_); }
  int connections() const { return connections_; }

 private:
  int socket_ = -1;
  std::uint16_t port_ = 0;
  std::atomic<bool> stopping_{false};
  std::atomic<int> connections_{0};
  std::thread thread_;
};

}  // namespace mempool::test
