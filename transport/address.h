// HOST:PORT as people write it: "127.0.0.1:7700", "node7:7700", "[::1]:7700".
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

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

/// The first address that this machine has for a host, as a number. InvalidArgument where it knows
/// none, Unavailable where it cannot ask now. What a name stands for is another question on each
/// machine.
Result<std::string> resolve(const std::string& host);

/// Whether the host is loopback, as a number or as "localhost". Other names: resolve() them first.
bool is_loopback(std::string_view host);

/// 0.0.0.0 or [::]: every address of this machine.
bool is_unspecified(std::string_view host);

bool is_ipv4(std::string_view host);

/// An address of this machine, as its network namespace has it, of a network device that is up.
struct OwnAddress {
  std::string device;   // "eth0"
  std::string address;  // a number
};
std::vector<OwnAddress> own_addresses();

/// Whether a number is an address of this machine; all of 127.0.0.0/8 are.
bool is_own(const std::string& address);

/// Why peers on other hosts do not find a node that is known as `host`, and bound to `address`:
/// this machine takes its name for loopback, as the file /etc/hosts of an installation does. Empty
/// where nothing is wrong: a number, or localhost, says itself where it is.
std::string loopback_name_warning(const std::string& host, const std::string& address);

/// An address of this machine that peers on other hosts may reach; empty where it has none.
std::string outside_address();

}  // namespace mempool::transport
