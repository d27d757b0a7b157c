#include "transport/rdma_devices.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <fstream>

#include <arpa/inet.h>

namespace mempool::transport {
namespace {

namespace fs = std::filesystem;

/// The first line of a file; empty when it cannot be read. Entries of GIDs that are not set are
/// there and give an error.
std::string line_of(const fs::path& path) {
  std::ifstream in(path);
  std::string line;
  std::getline(in, line);
  return line;
}

std::uint32_t number_of(const std::string& text) {
  std::uint32_t number = 0;
  std::from_chars(text.data(), text.data() + text.size(), number);
  return number;
}

/// Sorted, as numbers where they are numbers: "10" follows "9".
std::vector<std::string> entries(const fs::path& directory) {
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator at(directory, error), end; !error && at != end; at.increment(error))
    names.push_back(at->path().filename().native());
  std::ranges::sort(names, [](const std::string& a, const std::string& b) {
    return a.size() == b.size() ? a < b : a.size() < b.size();
  });
  return names;
}

RdmaPort read_port(const fs::path& sys, const std::string& device, const std::string& number) {
  const auto place = sys / "class/infiniband" / device / "ports" / number;
  RdmaPort port;
  port.device = device;
  port.port = number_of(number);
  const auto state = line_of(place / "state");  // "4: ACTIVE"
  const auto space = state.find(' ');
  port.state = space == std::string::npos ? state : state.substr(space + 1);
  port.link_layer = line_of(place / "link_layer");
  port.rate = line_of(place / "rate");
  for (const auto& index : entries(place / "gids")) {
    const auto gid = line_of(place / "gids" / index);
    if (gid.find_first_not_of("0:") == std::string::npos) continue;
    port.gids.push_back(gid);
    if (port.net_device.empty()) port.net_device = line_of(place / "gid_attrs/ndevs" / index);
  }
  // Soft-RoCE names what it sits on also without a GID.
  if (port.net_device.empty())
    port.net_device = line_of(sys / "class/infiniband" / device / "parent");
  if (!port.net_device.empty())
    port.net_mtu = number_of(line_of(sys / "class/net" / port.net_device / "mtu"));
  return port;
}

}  // namespace

std::vector<RdmaPort> rdma_ports(const fs::path& sys) {
  std::vector<RdmaPort> ports;
  for (const auto& device : entries(sys / "class/infiniband"))
    for (const auto& number : entries(sys / "class/infiniband" / device / "ports"))
      ports.push_back(read_port(sys, device, number));
  return ports;
}

std::string ipv4_of_gid(const std::string& gid) {
  in6_addr address{};
  if (inet_pton(AF_INET6, gid.c_str(), &address) != 1 || !IN6_IS_ADDR_V4MAPPED(&address)) return {};
  std::array<char, INET_ADDRSTRLEN> text{};
  inet_ntop(AF_INET, &address.s6_addr[12], text.data(), text.size());
  return text.data();
}

}  // namespace mempool::transport
