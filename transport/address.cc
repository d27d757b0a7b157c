#include "transport/address.h"

#include <charconv>
#include <cstring>

#include <arpa/inet.h>
#include <asio/ip/address.hpp>
#include <netinet/in.h>

namespace mempool::transport {

std::string HostPort::to_string() const {
  const bool ipv6 = host.find(':') != std::string::npos;
  return (ipv6 ? "[" + host + "]" : host) + ":" + std::to_string(port);
}

Result<HostPort> parse_host_port(std::string_view text) {
  const auto wrong = [&](const char* why) {
    return fail(Code::kInvalidArgument, "\"" + std::string(text) + "\" is not HOST:PORT: " + why +
                                            " (for example 127.0.0.1:7700 or [::1]:7700)");
  };
  const auto colon = text.rfind(':');
  if (colon == std::string_view::npos) return wrong("there is no port");
  auto host = text.substr(0, colon);
  const auto digits = text.substr(colon + 1);
  if (host.starts_with('[')) {
    if (!host.ends_with(']')) return wrong("the bracket is not closed");
    host = host.substr(1, host.size() - 2);
  } else if (host.find(':') != std::string_view::npos) {
    return wrong("an IPv6 address needs brackets");
  }
  if (host.empty()) return wrong("there is no host");
  HostPort out{std::string(host), 0};
  const auto* end = digits.data() + digits.size();
  const auto parsed = std::from_chars(digits.data(), end, out.port);
  if (digits.empty() || parsed.ec != std::errc() || parsed.ptr != end)
    return wrong("the port is not a number from 0 to 65535");
  return out;
}

std::string host_of_socket_address(std::span<const std::byte> address) {
  char text[INET6_ADDRSTRLEN] = "";
  sockaddr_in v4{};
  sockaddr_in6 v6{};
  if (address.size() == sizeof v4) {
    std::memcpy(&v4, address.data(), sizeof v4);
    if (v4.sin_family == AF_INET) inet_ntop(AF_INET, &v4.sin_addr, text, sizeof text);
  } else if (address.size() == sizeof v6) {
    std::memcpy(&v6, address.data(), sizeof v6);
    if (v6.sin6_family == AF_INET6) inet_ntop(AF_INET6, &v6.sin6_addr, text, sizeof text);
  }
  return text;
}

bool is_loopback(std::string_view host) {
  if (host == "localhost") return true;
  asio::error_code error;
  const auto address = asio::ip::make_address(std::string(host), error);
  return !error && address.is_loopback();
}

bool is_unspecified(std::string_view host) {
  asio::error_code error;
  const auto address = asio::ip::make_address(std::string(host), error);
  return !error && address.is_unspecified();
}

}  // namespace mempool::transport
