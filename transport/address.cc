#include "transport/address.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <optional>

#include <arpa/inet.h>
#include <asio/ip/address.hpp>
#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>

namespace mempool::transport {
namespace {

std::optional<asio::ip::address> parse_number(std::string_view host) {
  asio::error_code error;
  const auto address = asio::ip::make_address(std::string(host), error);
  if (error) return std::nullopt;
  return address;
}

/// As the system reads numbers: "127.1" is one, too.
bool is_number(const std::string& host) {
  addrinfo hints{};
  hints.ai_flags = AI_NUMERICHOST;
  addrinfo* found = nullptr;
  if (getaddrinfo(host.c_str(), nullptr, &hints, &found) != 0) return false;
  freeaddrinfo(found);
  return true;
}

/// With the scope of a link-local address: "fe80::1%eth0".
std::string number_of(const sockaddr* address, socklen_t bytes) {
  char text[NI_MAXHOST] = "";
  getnameinfo(address, bytes, text, sizeof text, nullptr, 0, NI_NUMERICHOST);
  return text;
}

}  // namespace

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

Result<std::string> resolve(const std::string& host) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (const int error = getaddrinfo(host.c_str(), nullptr, &hints, &found); error != 0)
    return fail(error == EAI_AGAIN ? Code::kUnavailable : Code::kInvalidArgument,
                "this machine knows no address of \"" + host + "\": " + gai_strerror(error));
  auto address = number_of(found->ai_addr, found->ai_addrlen);
  freeaddrinfo(found);
  return address;
}

bool is_loopback(std::string_view host) {
  if (host == "localhost") return true;
  const auto address = parse_number(host);
  return address && address->is_loopback();
}

bool is_unspecified(std::string_view host) {
  const auto address = parse_number(host);
  return address && address->is_unspecified();
}

bool is_ipv4(std::string_view host) {
  const auto address = parse_number(host);
  return address && address->is_v4();
}

std::vector<OwnAddress> own_addresses() {
  std::vector<OwnAddress> own;
  ifaddrs* all = nullptr;
  if (getifaddrs(&all) != 0) return own;
  for (const auto* at = all; at; at = at->ifa_next) {
    if (!at->ifa_addr || !(at->ifa_flags & IFF_UP)) continue;
    const int family = at->ifa_addr->sa_family;
    if (family == AF_INET)
      own.push_back({at->ifa_name, number_of(at->ifa_addr, sizeof(sockaddr_in))});
    if (family == AF_INET6)
      own.push_back({at->ifa_name, number_of(at->ifa_addr, sizeof(sockaddr_in6))});
  }
  freeifaddrs(all);
  return own;
}

bool is_own(const std::string& address) {
  return is_loopback(address) ||
         std::ranges::count(own_addresses(), address, &OwnAddress::address) > 0;
}

std::string outside_address() {
  for (const auto& own : own_addresses())
    if (is_ipv4(own.address) && !is_loopback(own.address)) return own.address;
  return {};
}

std::string loopback_name_warning(const std::string& host, const std::string& address) {
  const bool says_so = is_number(host) || host == "localhost" || host.ends_with(".localhost");
  if (says_so || !is_loopback(address)) return {};
  const auto better = outside_address();
  return host + " is " + address +
         " on this machine (see /etc/hosts), which is loopback: peers on other hosts are refused. "
         "Listen at an address that they reach" +
         (better.empty() ? "" : ", such as " + better) + ", or give " + host +
         " that address in /etc/hosts";
}

}  // namespace mempool::transport
