#include "support/rdma.h"

#include <filesystem>
#include <fstream>

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <netinet/in.h>

namespace mempool::test {
namespace {

namespace fs = std::filesystem;

std::string first_line(const fs::path& path) {
  std::ifstream in(path);
  std::string line;
  std::getline(in, line);
  return line;
}

std::string address_of(const std::string& network_device) {
  ifaddrs* all = nullptr;
  if (::getifaddrs(&all) != 0) return {};
  std::string text;
  for (const auto* at = all; at && text.empty(); at = at->ifa_next) {
    if (!at->ifa_addr || at->ifa_addr->sa_family != AF_INET || at->ifa_name != network_device)
      continue;
    char buffer[INET_ADDRSTRLEN];
    const auto* address = reinterpret_cast<const sockaddr_in*>(at->ifa_addr);
    text = ::inet_ntop(AF_INET, &address->sin_addr, buffer, sizeof buffer);
  }
  ::freeifaddrs(all);
  return text;
}

std::string find_address() {
  std::error_code none;
  for (const auto& device : fs::directory_iterator("/sys/class/infiniband", none))
    for (const auto& port : fs::directory_iterator(device.path() / "ports", none)) {
      if (!first_line(port.path() / "state").ends_with("ACTIVE")) continue;
      const auto address = address_of(first_line(port.path() / "gid_attrs/ndevs/0"));
      if (!address.empty()) return address;
    }
  return {};
}

}  // namespace

const std::string& rdma_address() {
  static const std::string address = find_address();
  return address;
}

}  // namespace mempool::test
