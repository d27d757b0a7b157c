#include "transport/fabric_report.h"

#include <algorithm>
#include <array>
#include <cstdlib>

#include "transport/fabric.h"
#include "transport/fabric_info.h"

namespace mempool::transport {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t kReadBytes = 64;
constexpr std::size_t kReads = 21;

bool known_to_libfabric(std::string_view name) {
  fi_info* list = nullptr;
  if (fi_getinfo(FI_VERSION(1, 17), nullptr, nullptr, FI_PROV_ATTR_ONLY, nullptr, &list) != 0)
    return false;
  const FiInfo all(list);
  for (const fi_info* info = all.get(); info; info = info->next)
    if (info->fabric_attr && info->fabric_attr->prov_name && name == info->fabric_attr->prov_name)
      return true;
  return false;
}

/// Median time of a read of this process's own memory.
Result<std::chrono::nanoseconds> read_oneself(const Provider& provider, const std::string& host,
                                              Clock::duration patience) {
  alignas(4096) static std::array<std::byte, 4096> memory{};
  BufferPool buffers;
  auto owner = Fabric::listen(provider, host);
  if (!owner) return forward_error(std::move(owner));
  auto region = (*owner)->expose(memory);
  if (!region) return forward_error(std::move(region));
  auto reader = Fabric::connect(provider, host);
  if (!reader) return forward_error(std::move(reader));
  auto address = (*reader)->insert((*owner)->address());
  if (!address) return forward_error(std::move(address));

  auto buffer = buffers.take(kReadBytes);
  if (!buffer) return forward_error(std::move(buffer));
  const RemoteRange range{*address, (*region)->base(), (*region)->key()};
  std::vector<std::chrono::nanoseconds> times;
  Status status;
  for (std::size_t i = 0; i < kReads && status; ++i) {
    const auto begin = Clock::now();
    status = (*reader)->read(range, *buffer, 0, kReadBytes, patience);
    times.push_back(Clock::now() - begin);
  }
  // The buffer's registration is the reader's, and goes before it.
  *buffer = Buffer();
  buffers.trim();
  if (!status) return forward_error(std::move(status));
  std::ranges::nth_element(times, times.begin() + kReads / 2);
  return times[kReads / 2];
}

}  // namespace

ProviderReport report_provider(const Provider& provider, const std::string& host,
                               Clock::duration patience) {
  ProviderReport report{.provider = &provider};
  report.in_libfabric = known_to_libfabric(provider.name);
  if (const char* filter = std::getenv("FI_PROVIDER")) report.filter = filter;
  auto time = read_oneself(provider, host, patience);
  if (time) {
    report.read_time = *time;
  } else {
    report.works = forward_error(std::move(time));
  }
  return report;
}

Status can_reach(const Provider& provider, const std::string& host) {
  auto fabric = Fabric::connect(provider, host);
  if (!fabric) return forward_error(std::move(fabric));
  return {};
}

std::string libfabric_version() {
  const auto version = fi_version();
  return std::to_string(FI_MAJOR(version)) + "." + std::to_string(FI_MINOR(version));
}

std::size_t active_mtu(const std::string& device) {
  for (const auto& provider : known_providers()) {
    if (!provider.rdma) continue;
    const FiInfo all = query_provider(provider, "", FabricUse::kListen);
    for (const fi_info* info = all.get(); info; info = info->next) {
      const auto* nic = info->nic;
      if (nic && nic->device_attr && nic->device_attr->name && nic->link_attr &&
          device == nic->device_attr->name)
        return nic->link_attr->mtu;
    }
  }
  return 0;
}

}  // namespace mempool::transport
