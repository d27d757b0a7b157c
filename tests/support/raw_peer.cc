#include "support/raw_peer.h"

#include <cerrno>
#include <cstring>
#include <stdexcept>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

namespace mempool::test {
namespace {

sockaddr_in loopback(std::uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

std::runtime_error system_failure(const char* call) {
  return std::runtime_error(std::string(call) + ": " + std::strerror(errno));
}

bool await(int socket, short events, Clock::time_point deadline) {
  const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now());
  pollfd waiting{socket, events, 0};
  return ::poll(&waiting, 1, static_cast<int>(std::max<std::int64_t>(0, left.count()))) > 0;
}

}  // namespace

RawPeer::RawPeer(std::uint16_t port) : socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  const auto address = loopback(port);
  if (::connect(socket_, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    throw system_failure("connect");
}

RawPeer::~RawPeer() {
  if (socket_ >= 0) ::close(socket_);
}

std::size_t RawPeer::send(std::span<const std::byte> bytes, Clock::duration limit) {
  std::size_t sent = 0;
  while (sent < bytes.size()) {
    if (!await(socket_, POLLOUT, Clock::now() + limit)) break;
    const auto n =
        ::send(socket_, bytes.data() + sent, bytes.size() - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) continue;
    if (n < 0) break;
    sent += static_cast<std::size_t>(n);
  }
  return sent;
}

void RawPeer::finish_sending() {
  ::shutdown(socket_, SHUT_WR);
}

std::optional<Bytes> RawPeer::receive(std::size_t bytes, Clock::duration limit) {
  const auto deadline = Clock::now() + limit;
  Bytes got(bytes);
  for (std::size_t at = 0; at < bytes;) {
    if (!await(socket_, POLLIN, deadline)) return std::nullopt;
    const auto n = ::recv(socket_, got.data() + at, bytes - at, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) continue;
    if (n <= 0) return std::nullopt;
    at += static_cast<std::size_t>(n);
  }
  return got;
}

std::optional<Bytes> RawPeer::receive_all(Clock::duration limit) {
  const auto deadline = Clock::now() + limit;
  Bytes got;
  for (;;) {
    if (!await(socket_, POLLIN, deadline)) return std::nullopt;
    std::byte part[4096];
    const auto n = ::recv(socket_, part, sizeof part, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) continue;
    if (n <= 0) return got;  // also a reset is an end
    got.insert(got.end(), part, part + n);
  }
}

RawServer::RawServer(std::function<void(RawPeer&)> serve)
    : socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  auto address = loopback(0);
  socklen_t size = sizeof address;
  if (::bind(socket_, reinterpret_cast<const sockaddr*>(&address), size) != 0 ||
      ::listen(socket_, 16) != 0 ||
      ::getsockname(socket_, reinterpret_cast<sockaddr*>(&address), &size) != 0)
    throw system_failure("listen");
  port_ = ntohs(address.sin_port);
  thread_ = std::thread([this, serve = std::move(serve)] {
    while (!stopping_) {
      if (!await(socket_, POLLIN, Clock::now() + 20ms)) continue;
      const int accepted = ::accept4(socket_, nullptr, nullptr, SOCK_CLOEXEC);
      if (accepted < 0) continue;
      ++connections_;
      RawPeer peer(accepted);
      serve(peer);
    }
  });
}

RawServer::~RawServer() {
  stopping_ = true;
  thread_.join();
  ::close(socket_);
}

}  // namespace mempool::test
