// HOST:PORT as people write it: "127.0.0.1:7700", "node7:7700", "[::1]:7700".
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include <mempool/result.h>

namespace mempool::transport {

struct HostPort {
  std::string host;
  std::uint16_t port = 0;
  std::string to_string() const;
};

Result<HostPort> parse_host_port(std::string_view text);

/// The host of a socket address as the system lays it out; empty where it is no internet address.
std::string host_of_socket_address(std::span<const std::byte> address);

/// Whether the host is this machine's loopback, by name or number.
bool is_loopback(std::string_view host);

/// 0.0.0.0 or [::]: every address of this machine.
bool is_unspecified(std::string_view host);

}  // namespace mempool::transport
