// RDMA devices as the kernel shows them, usable or not; libfabric only shows those it can open.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "transport/address.h"

namespace mempool::transport {

struct RdmaPort {
  std::string device;  // "rxe0"
  std::uint32_t port = 0;
  std::string state;              // "ACTIVE", "INIT", "DOWN", ...
  std::string technology;         // "InfiniBand", "RoCE", "iWARP", or what the kernel calls it
  bool soft_roce = false;         // the kernel's rdma_rxe
  std::string rate;               // "2.5 Gb/sec (1X SDR)"
  std::string net_device;         // where it sits: "eth0"; may be empty
  std::uint32_t net_mtu = 0;      // of that network device; 0: none
  std::vector<std::string> gids;  // those that are set, as the kernel writes them

  bool active() const { return state == "ACTIVE"; }
};

/// All ports, by device and number. `sys`: where sysfs is mounted.
std::vector<RdmaPort> rdma_ports(const std::filesystem::path& sys = "/sys");

/// The IPv4 address that a RoCE GID stands for; empty for others.
std::string ipv4_of_gid(const std::string& gid);

/// The first of this machine's IPv4 addresses that is the port's; empty where there is none.
std::string address_of(const RdmaPort& port, std::span<const OwnAddress> own);

/// Where a node has to listen to be read by RDMA: such an address of a port that is up.
std::string rdma_address(std::span<const RdmaPort> ports, std::span<const OwnAddress> own);

}  // namespace mempool::transport
