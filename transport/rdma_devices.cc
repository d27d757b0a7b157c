#include "transport/rdma_devices.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <fstream>
#include <iterator>

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

/// node_type tells adapters that speak iWARP ("4: RNIC"), which is RDMA over TCP; link_layer says
/// Ethernet of these and of RoCE alike.
std::string technology_of(const fs::path& device, const std::string& link_layer) {
  const auto type = line_of(device / "node_type");
  if (type.starts_with("4:")) return "iWARP";
  return link_layer == "Ethernet" ? "RoCE" : link_layer;
}

/// By what an adapter's own folder says of network devices. They count ports from 0.
std::string net_device_of_adapter(const fs::path& device, std::uint32_t port) {
  const auto networks = device / "device/net";
  for (const auto& name : entries(networks))
    if (number_of(line_of(networks / name / "dev_port")) + 1 == port) return name;
  return {};
}

/// "cc0d:daff:fe65:0000:..." begins with the bytes of the address "cc:0d:da:ff:fe:65".
bool begins_with(const std::string& gid, const std::string& hardware_address) {
  const auto digits = [](const std::string& text) {
    std::string only;
    std::ranges::copy_if(text, std::back_inserter(only), [](char c) { return c != ':'; });
    return only;
  };
  return hardware_address.size() == 17 && digits(gid).starts_with(digits(hardware_address));
}

/// The GID of an iWARP port is the hardware address of its network device. That of a VLAN or the
/// like may be the same, and comes second: it sits on another (iflink).
std::string net_device_of_gid(const fs::path& sys, const std::string& gid) {
  std::string found;
  for (const auto& name : entries(sys / "class/net")) {
    const auto network = sys / "class/net" / name;
    if (!begins_with(gid, line_of(network / "address"))) continue;
    if (line_of(network / "iflink") == line_of(network / "ifindex")) return name;
    if (found.empty()) found = name;
  }
  return found;
}

RdmaPort read_port(const fs::path& sys, const std::string& device, const std::string& number) {
  const auto folder = sys / "class/infiniband" / device;
  const auto place = folder / "ports" / number;
  RdmaPort port;
  port.device = device;
  port.port = number_of(number);
  const auto state = line_of(place / "state");  // "4: ACTIVE"
  const auto space = state.find(' ');
  port.state = space == std::string::npos ? state : state.substr(space + 1);
  port.technology = technology_of(folder, line_of(place / "link_layer"));
  port.rate = line_of(place / "rate");
  for (const auto& index : entries(place / "gids")) {
    const auto gid = line_of(place / "gids" / index);
    if (gid.find_first_not_of("0:") == std::string::npos) continue;
    port.gids.push_back(gid);
    // Of iWARP it cannot be read with older kernels (6.1).
    if (port.net_device.empty()) port.net_device = line_of(place / "gid_attrs/ndevs" / index);
  }
  // Soft-RoCE, and no other device, names what it sits on also without a GID.
  const auto parent = line_of(folder / "parent");
  port.soft_roce = !parent.empty();
  auto& network = port.net_device;
  if (network.empty()) network = parent;
  if (network.empty()) network = net_device_of_adapter(folder, port.port);
  if (network.empty() && port.technology == "iWARP" && !port.gids.empty())
    network = net_device_of_gid(sys, port.gids.front());
  if (!network.empty()) port.net_mtu = number_of(line_of(sys / "class/net" / network / "mtu"));
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

std::string address_of(const RdmaPort& port, std::span<const OwnAddress> own) {
  std::vector<std::string> of_gids;
  for (const auto& gid : port.gids)
    if (auto ipv4 = ipv4_of_gid(gid); !ipv4.empty()) of_gids.push_back(std::move(ipv4));
  // A network device in another network namespace may have the same name: of RoCE the GIDs tell.
  for (const auto& [device, address] : own)
    if (of_gids.empty() ? device == port.net_device && is_ipv4(address) && !is_loopback(address)
                        : std::ranges::find(of_gids, address) != of_gids.end())
      return address;
  return {};
}

std::string rdma_address(std::span<const RdmaPort> ports, std::span<const OwnAddress> own) {
  for (const auto& port : ports)
    if (auto address = address_of(port, own); port.active() && !address.empty()) return address;
  return {};
}

}  // namespace mempool::transport
