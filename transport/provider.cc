#include "transport/provider.h"

#include <algorithm>
#include <array>

#include "transport/fabric_info.h"

namespace mempool::transport {
namespace {

// verbs      Asked for by its full name: where rxm finds no way, libfabric offers rxd under the
//            short name, which emulates reads in the target's processor. No device has a loopback
//            address: an endpoint that is asked for there opens at a public one, where nobody
//            expects it and nobody from loopback can connect to it.
//            A lost packet makes the owner send the rest of a read again, and is noticed when data
//            of the next read comes, or after seconds: with 1 % lost, 4 MiB in reads of 64 KiB
//            arrive after about twice their packets, in one read not at all. Without loss the size
//            makes no difference (soft-RoCE).
//            rxm locks 16 MiB for the buffers of its receive queue when an endpoint opens, and more
//            with its first connection: with 32 MiB no read comes through, with 64 they do. Where
//            it may not lock them it fails, and libfabric 2.1 crashes in doing so.
// shm        Names its endpoints itself. Only opened by name: its fast path needs a permission that
//            containers deny, and checks no key; and between endpoints of one process
//            libfabric 1.17 crashes when one goes. Its queues have spin locks in shared memory: a
//            process that is killed while it holds one stops its peers for good. Between processes
//            it is tested by the torture program, which kills none of them.
// spin_us    On TCP providers the one who waits is also the one who moves the data, so polling is
//            progress. `sockets` moves data on threads of its own, which a polling reader starves
//            on small machines (6 ms a read instead of 60 us on two cores): there a reader blocks
//            at once.
constexpr std::array<Provider, 5> kProviders{{
    {.name = "verbs",
     .fabric_name = "verbs;ofi_rxm",
     .rdma = true,
     .automatic = true,
     .has_hosts = true,
     .loopback = false,
     .shares_locks = false,
     .pulls = true,
     .spin_us = 50,
     .max_read_bytes = 64 * 1024,
     .locks_bytes = 64 * 1024 * 1024},
    {.name = "net",
     .fabric_name = "net",
     .rdma = false,
     .automatic = true,
     .has_hosts = true,
     .loopback = true,
     .shares_locks = false,
     .pulls = false,
     .spin_us = 100},
    {.name = "tcp",
     .fabric_name = "tcp",
     .rdma = false,
     .automatic = true,
     .has_hosts = true,
     .loopback = true,
     .shares_locks = false,
     .pulls = false,
     .spin_us = 100},
    {.name = "sockets",
     .fabric_name = "sockets",
     .rdma = false,
     .automatic = true,
     .has_hosts = true,
     .loopback = true,
     .shares_locks = false,
     .pulls = false,
     .spin_us = 0},
    {.name = "shm",
     .fabric_name = "shm",
     .rdma = false,
     .automatic = false,
     .has_hosts = false,
     .loopback = true,
     .shares_locks = true,
     .pulls = false,
     .spin_us = 50},
}};

constexpr std::array<ProviderSetting, 5> kSettings{{
    // rxm sizes one completion queue by the number of peers (default 256). soft-RoCE's longest
    // queue is reached above 254, and then no endpoint opens: -FI_EINVAL.
    {"FI_UNIVERSE_SIZE", "64"},
    // All connections of an endpoint receive in one queue, which lives as long as the endpoint.
    // With a queue each, rxm sends messages of its own, and may crash when a connection ends. A
    // device without shared receive queues has no verbs unless the user says 0 here:
    // docs/decisions/0017-one-receive-queue-over-verbs.md.
    {"FI_OFI_RXM_USE_SRX", "1"},
    // How many receives are posted in it. No peer sends any message; 4096, the default, would lock
    // 64 MiB for them.
    {"FI_OFI_RXM_MSG_RX_SIZE", "128"},
    // A cache of registrations would keep memory locked after it was given back, and puts hooks
    // into mmap and munmap. Regions and buffers are registered once anyway.
    {"FI_MR_CACHE_MONITOR", "disabled"},
    // For how many ms the threads of `sockets` spin before they sleep (default 10). On a small
    // machine they starve each other and everybody else: reads that take 0.2 ms take 12.
    {"FI_SOCKETS_PE_WAITTIME", "0"},
}};

std::string join(const std::vector<std::string>& names) {
  std::string text;
  for (const auto& name : names) text += (text.empty() ? "" : ", ") + name;
  return text.empty() ? "none" : text;
}

}  // namespace

std::span<const Provider> known_providers() {
  return kProviders;
}

std::span<const ProviderSetting> provider_settings() {
  return kSettings;
}

const Provider* find_provider(std::string_view name) {
  const auto found = std::ranges::find(kProviders, name, &Provider::name);
  return found == kProviders.end() ? nullptr : &*found;
}

std::vector<std::string> present_providers() {
  std::vector<std::string> names;
  for (const auto& provider : kProviders)
    if (query_provider(provider, "", FabricUse::kListen)) names.emplace_back(provider.name);
  return names;
}

Result<AllowedPaths> choose_paths(std::vector<std::string> asked, bool require_rdma) {
  const bool automatic = std::erase(asked, "auto") > 0 || asked.empty();
  const auto is_asked = [&](std::string_view name) { return std::erase(asked, name) > 0; };
  AllowedPaths paths;
  paths.automatic = automatic;
  paths.shared_memory = (is_asked(kSharedMemoryName) || automatic) && !require_rdma;
  paths.mapped_files = (is_asked(kMappedFilesName) || automatic) && !require_rdma;
  is_asked(kPushName);
  paths.pull = is_asked(kPullName);
  // Looking for providers takes long (fi_getinfo), so only those look who want some.
  if (!automatic && asked.empty() && !require_rdma) return paths;

  const auto present = present_providers();
  const auto is_present = [&](std::string_view name) {
    return std::ranges::find(present, name) != present.end();
  };
  const auto missing = [&](const std::string& what) {
    return fail(Code::kNoProvider, what + "; present here: " + join(present));
  };
  for (const auto& name : asked) {
    if (!find_provider(name)) return missing("there is no provider \"" + name + "\"");
    if (!is_present(name))
      return missing("provider \"" + name + "\" is not usable on this machine");
  }
  for (const auto& provider : kProviders) {
    const bool wanted =
        (automatic && provider.automatic) || std::ranges::find(asked, provider.name) != asked.end();
    if (wanted && is_present(provider.name)) paths.providers.push_back(&provider);
  }
  if (require_rdma && std::ranges::none_of(paths.providers, &Provider::rdma))
    return missing("RDMA is required, and no allowed provider has it");
  return paths;
}

}  // namespace mempool::transport
