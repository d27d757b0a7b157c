// RDMA devices and fabric providers: which are here, whether they work, and how to get soft-RoCE.
#include <algorithm>
#include <charconv>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <string>

#include <net/if.h>
#include <sys/resource.h>
#include <unistd.h>

#include <mempool/detail/region_size.h>

#include "api/programs/doctor.h"
#include "api/programs/machine.h"
#include "api/programs/print.h"
#include "transport/address.h"
#include "transport/fabric_report.h"
#include "transport/memory_lock.h"
#include "transport/rdma_devices.h"

namespace mempool::programs {
namespace {

namespace fs = std::filesystem;
using transport::ProviderReport;
using transport::RdmaPort;

constexpr std::size_t kSmallMtu = 1024;
/// Where nobody expects a read to come, it is tried all the same.
constexpr auto kPatience = std::chrono::seconds(10);
constexpr auto kLittlePatience = std::chrono::seconds(2);

// ---- soft-RoCE on a machine without a device ----

/// The device of the default route, which is what the machine talks over; else one that is up.
std::string usual_net_device() {
  std::ifstream routes("/proc/net/route");
  for (std::string line; std::getline(routes, line);) {
    const auto tab = line.find('\t');
    if (tab != std::string::npos && line.compare(tab + 1, 8, "00000000") == 0)
      return line.substr(0, tab);
  }
  std::error_code error;
  for (fs::directory_iterator at("/sys/class/net", error), end; !error && at != end;
       at.increment(error)) {
    const auto flags = line_of(at->path() / "flags");
    unsigned bits = 0;
    if (flags.size() > 2) std::from_chars(flags.data() + 2, flags.data() + flags.size(), bits, 16);
    if ((bits & IFF_UP) && !(bits & IFF_LOOPBACK)) return at->path().filename();
  }
  return "NETDEV";
}

bool soft_roce_loaded() {
  std::error_code error;
  return fs::exists("/sys/module/rdma_rxe", error);
}

bool kernel_has_soft_roce() {
  for (const char* list : {"modules.dep", "modules.builtin"}) {
    std::ifstream modules(fs::path("/lib/modules") / kernel_release() / list);
    for (std::string line; std::getline(modules, line);)
      if (line.find("/rdma_rxe.ko") != std::string::npos) return true;
  }
  return soft_roce_loaded();
}

/// What brings rdma_rxe where the running kernel came without; empty where nothing is known to.
Commands get_kernel_module() {
  std::error_code error;
  const bool own_kernel = fs::exists(fs::path("/lib/modules") / kernel_release(), error);
  std::ifstream in("/etc/os-release");
  std::string distribution;
  for (std::string line; std::getline(in, line);)
    if (line.starts_with("ID=")) distribution = line.substr(3);
  if (distribution == "ubuntu" && own_kernel)
    return {as_root("apt-get install linux-modules-extra-" + kernel_release())};
  // Debian's cloud flavour leaves it out.
  if (distribution == "debian" && own_kernel && kernel_release().find("cloud") != std::string::npos)
    return {as_root("apt-get install linux-image-amd64"), as_root("systemctl reboot")};
  return {};
}

Finding without_device(bool required) {
  Finding finding{
      required ? Sign::kProblem : Sign::kWarning, "RDMA", "this machine has no RDMA device; ", {}};
  const bool here = kernel_has_soft_roce();
  finding.remedy = here ? Commands{} : get_kernel_module();
  if (!here && finding.remedy.empty()) {
    finding.sentence += "kernel " + kernel_release() +
                        " has no rdma_rxe, so that soft-RoCE needs a virtual machine, which the "
                        "source tree of MemPool brings";
    finding.remedy = {"ci/soft-roce -- mempool doctor"};
    return finding;
  }
  const auto network = usual_net_device();
  finding.sentence += "soft-RoCE makes one";
  if (!here) finding.sentence += ", with a kernel that has rdma_rxe";
  if (in_container()) finding.sentence += ", on the host of this container";
  finding.sentence += "; nodes then listen at the address of " + network + ", with --insecure";
  if (!soft_roce_loaded()) finding.remedy.push_back(as_root("modprobe rdma_rxe"));
  finding.remedy.push_back(as_root("rdma link add rxe0 type rxe netdev " + network));
  return finding;
}

// ---- devices ----

std::string addresses(const RdmaPort& port) {
  // Of iWARP it is the network device's hardware address.
  if (port.technology == "iWARP") {
    const auto address = transport::address_of(port, transport::own_addresses());
    return address.empty() ? "no address" : "address " + address;
  }
  std::string text;
  for (const auto& gid : port.gids) {
    const auto ipv4 = transport::ipv4_of_gid(gid);
    text += (text.empty() ? "" : ", ") + (ipv4.empty() ? gid : ipv4);
  }
  return text.empty() ? "no GID" : "GID " + text;
}

/// All devices show in every network namespace, as a rule, and their network devices in one.
bool is_of_another_namespace(const RdmaPort& port) {
  return in_network_namespace() && port.technology != "InfiniBand" &&
         if_nametoindex(port.net_device.c_str()) == 0;
}

std::string network_text(const RdmaPort& port) {
  if (is_of_another_namespace(port))
    return " on " + (port.net_device.empty() ? std::string("a network device") : port.net_device) +
           " of another network namespace";
  return port.net_device.empty() ? "" : " on " + port.net_device;
}

/// libfabric knows the device's own MTU while the port is up; it follows from the network device's.
std::string mtu_text(const RdmaPort& port, std::size_t mtu) {
  const auto of_network = port.net_mtu ? "MTU " + std::to_string(port.net_mtu) + " of the network"
                                       : std::string("MTU unknown");
  return mtu ? "MTU " + std::to_string(mtu) : of_network;
}

/// An iWARP port has its GID without an address.
bool has_no_address(const RdmaPort& port) {
  return port.gids.empty() || (port.technology == "iWARP" &&
                               transport::address_of(port, transport::own_addresses()).empty());
}

Finding examine_port(const RdmaPort& port, bool others_active) {
  const auto mtu = transport::active_mtu(port.device);
  Finding finding{Sign::kFine, "device " + port.device, {}, {}};
  finding.sentence = "port " + std::to_string(port.port) + " is " + port.state + ", " +
                     port.technology + network_text(port) + ", " + mtu_text(port, mtu) + ", " +
                     addresses(port);
  // Nothing here mends it.
  if (is_of_another_namespace(port)) return finding;
  const auto device = port.net_device.empty() ? std::string("NETDEV") : port.net_device;
  if (!port.active()) {
    finding.sign = others_active ? Sign::kWarning : Sign::kProblem;
    finding.remedy = {as_root(port.technology == "InfiniBand" ? "systemctl start opensm"
                                                              : "ip link set up dev " + device)};
  } else if (has_no_address(port)) {
    finding.sign = Sign::kProblem;
    finding.remedy = {as_root("ip address add ADDRESS/24 dev " + device)};
  } else if (mtu != 0 && mtu < kSmallMtu && !port.net_device.empty()) {
    finding.sign = Sign::kWarning;
    finding.remedy = {as_root("ip link set mtu 1500 dev " + device)};
  }
  return finding;
}

/// What libibverbs and librdmacm open; a container may hide it, and a user may have no right to it.
Finding examine_device_files() {
  Commands missing;
  bool forbidden = false;
  std::error_code error;
  std::string uverbs = "/dev/infiniband/uverbs0";
  for (fs::directory_iterator at("/dev/infiniband", error), end; !error && at != end;
       at.increment(error))
    if (at->path().filename().native().starts_with("uverbs")) uverbs = at->path();
  for (const auto& file : {uverbs, std::string("/dev/infiniband/rdma_cm")}) {
    if (access(file.c_str(), R_OK | W_OK) == 0) continue;
    forbidden = forbidden || fs::exists(file, error);
    missing.push_back(file);
  }
  if (missing.empty())
    return {Sign::kFine, "device files", "they are here, and this user may open them", {}};
  std::string names = missing[0];
  for (std::size_t i = 1; i < missing.size(); ++i) names += " and " + missing[i];
  if (forbidden)
    return {Sign::kProblem,
            "device files",
            "this user may not open " + names,
            {as_root("chmod a+rw /dev/infiniband/uverbs* /dev/infiniband/rdma_cm")}};
  return {Sign::kProblem,
          "device files",
          "there is an RDMA device, and no " + names,
          {in_container() ? "docker run --device=/dev/infiniband ..."
                          : as_root("modprobe -a ib_uverbs rdma_ucm")}};
}

// ---- providers ----

struct Wish {
  bool automatic;  // nothing was asked for by name, or "auto"
  std::vector<std::string> names;
  std::string host;  // where a node would listen, as a number; empty: not said
  int lock_error;    // why its memory may not be locked, which RDMA needs; 0: it may

  explicit Wish(const PoolOptions& options)
      : names(options.providers),
        lock_error(transport::lock_error(region_bytes(options.max_memsize, /*exposed=*/true))) {
    automatic = std::erase(names, "auto") > 0 || names.empty();
    if (const auto where = transport::parse_host_port(options.listen))
      host = transport::resolve(where->host).value_or(where->host);
  }
  bool by_name(const transport::Provider& provider) const {
    return std::ranges::find(names, provider.name) != names.end();
  }
  bool any_provider() const {
    return automatic || std::ranges::any_of(names, [](const std::string& name) {
             return transport::find_provider(name) != nullptr;
           });
  }
  bool includes(const transport::Provider& provider) const {
    return (automatic && provider.automatic) || by_name(provider);
  }
};

/// Where a node has to listen to be read by RDMA.
std::string rdma_address(const std::vector<RdmaPort>& ports) {
  const auto address = transport::rdma_address(ports, transport::own_addresses());
  return address.empty() ? "ADDRESS" : address;
}

/// An RDMA device that works, and no word yet of where the node would listen.
Finding somewhere(const std::vector<RdmaPort>& ports) {
  return {Sign::kFine,
          "RDMA",
          "nodes on loopback do not have it: mempoold --listen " + rdma_address(ports) +
              ":7401 --insecure ...",
          {}};
}

/// An RDMA device that works, though not where the node would listen.
Finding elsewhere(const Wish& wish, const std::vector<RdmaPort>& ports, bool required) {
  const auto address = rdma_address(ports);
  return {required ? Sign::kProblem : Sign::kWarning,
          "RDMA",
          "a node at " + wish.host + " has none: the RDMA device is at " + address,
          {"mempoold --listen " + address + ":7401 --insecure ..."}};
}

std::string absence(const ProviderReport& report, bool device_active) {
  // libfabric is silent about providers whose devices are not up.
  if (report.provider->rdma && !device_active) return "no RDMA device is up";
  if (!report.filter.empty()) return "FI_PROVIDER is " + report.filter + ", and leaves it out";
  if (!report.in_libfabric)
    return "libfabric " + transport::libfabric_version() + " comes without it";
  return report.works.error().message;
}

/// Soft-RoCE listens in the machine's own network namespace. One that was made in another is shown
/// there as up, and what is sent to it is lost.
bool soft_roce_is_cut_off(const std::vector<RdmaPort>& ports) {
  return in_network_namespace() && is_older(kernel_release(), 7, 2) &&
         std::ranges::any_of(ports, [](const RdmaPort& port) {
           return port.soft_roce && !is_of_another_namespace(port);
         });
}

/// An RDMA device that is up and does not work, in a network namespace of a container.
Finding cut_off(const ProviderReport& report, const std::vector<RdmaPort>& ports) {
  return {Sign::kProblem,
          "provider " + std::string(report.provider->name),
          report.works.error().message +
              ": this process is in a network namespace of its own, as containers are, " +
              (soft_roce_is_cut_off(ports)
                   ? "where soft-RoCE needs Linux 7.2 (this is " + kernel_release() + ")"
                   : "and the device may belong to another"),
          {in_container() ? "docker run --network host ...   # or in a virtual machine"
                          : "nsenter --net=/proc/1/ns/net ...   # or in a virtual machine"}};
}

Finding examine_provider(const ProviderReport& report, const Wish& wish,
                         const std::vector<RdmaPort>& ports, bool other_works) {
  const bool device_active = std::ranges::any_of(ports, &RdmaPort::active);
  const std::string name(report.provider->name);
  const auto subject = "provider " + name;
  if (report.works)
    return {Sign::kFine,
            subject,
            "reads 64 bytes of this process's memory in " + microseconds(report.read_time),
            {}};
  const auto absent = absence(report, device_active);
  if (!wish.includes(*report.provider))
    return {Sign::kFine, subject, "is not asked for, and would not work: " + absent, {}};
  if (report.provider->rdma && device_active && report.filter.empty() && wish.lock_error != 0)
    return {Sign::kProblem,
            subject,
            absent + "; the memory-lock limit is too low for it",
            {lift_command(RLIMIT_MEMLOCK)}};
  if (report.provider->rdma && device_active && report.filter.empty() && in_network_namespace())
    return cut_off(report, ports);
  const bool missed = wish.by_name(*report.provider) || report.provider->rdma;
  if (!missed && report.filter.empty() && !report.in_libfabric && other_works)
    return {Sign::kFine, subject, absent + "; another one does its work", {}};
  return {missed ? Sign::kProblem : Sign::kWarning,
          subject,
          absent,
          {report.filter.empty() ? "fi_info -p " + name : "unset FI_PROVIDER"}};
}

Findings examine_devices(const std::vector<RdmaPort>& ports) {
  Findings findings;
  const auto active = std::ranges::count_if(ports, &RdmaPort::active);
  for (const auto& port : ports)
    findings.push_back(examine_port(port, active > (port.active() ? 1 : 0)));
  findings.push_back(examine_device_files());
  return findings;
}

Findings examine_providers(const Wish& wish, const std::vector<RdmaPort>& ports,
                           bool rdma_required) {
  Findings findings;
  std::vector<ProviderReport> reports;
  for (const auto& provider : transport::known_providers()) {
    const bool hopeless = provider.rdma && soft_roce_is_cut_off(ports);
    const auto patience = hopeless ? kLittlePatience : kPatience;
    auto report = transport::report_provider(provider, wish.host, patience);
    if (provider.rdma && report.works && wish.host.empty()) findings.push_back(somewhere(ports));
    if (provider.rdma && !report.works && !wish.host.empty() && !hopeless) {
      report = transport::report_provider(provider, "", patience);
      if (report.works) findings.push_back(elsewhere(wish, ports, rdma_required));
    }
    // Without a device that was said already.
    if (!provider.rdma || !ports.empty() || report.works) reports.push_back(std::move(report));
  }
  const bool any = std::ranges::any_of(reports, [&](const ProviderReport& report) {
    return report.works && wish.includes(*report.provider);
  });
  for (const auto& report : reports) findings.push_back(examine_provider(report, wish, ports, any));
  if (!any && wish.any_provider())
    findings.push_back(
        {wish.automatic ? Sign::kWarning : Sign::kProblem,
         "providers",
         wish.automatic ? "none works: readers on other hosts are sent the bytes, which is slower"
                        : "none that is allowed works: no node starts here",
         {"fi_info -l"}});
  return findings;
}

}  // namespace

Findings examine_fabric(const PoolOptions& options) {
  if (auto chosen = transport::choose_paths(options.providers, /*require_rdma=*/false); !chosen)
    return {
        {Sign::kProblem, "providers", chosen.error().message, {"mempoold --provider auto ..."}}};
  const auto ports = transport::rdma_ports();
  auto findings =
      ports.empty() ? Findings{without_device(options.require_rdma)} : examine_devices(ports);
  for (auto& finding : examine_providers(Wish(options), ports, options.require_rdma))
    findings.push_back(std::move(finding));
  return findings;
}

}  // namespace mempool::programs
