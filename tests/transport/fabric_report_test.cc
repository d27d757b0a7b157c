// The report on this machine's providers, and how RDMA devices are read from sysfs.
#include "transport/fabric_report.h"

#include <algorithm>

#include <gmock/gmock.h>

#include "support/files.h"
#include "support/results.h"
#include "transport/rdma_devices.h"

namespace mempool::transport {
namespace {

using namespace std::chrono_literals;
using test::code;
using test::message;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::MatchesRegex;

namespace fs = std::filesystem;

TEST(FabricReport, EveryPresentProviderReadsItself) {
  for (const auto& name : present_providers()) {
    // Its way to read needs a permission that containers deny.
    if (name == "shm") continue;
    const auto report = report_provider(*find_provider(name), "", 10s);
    EXPECT_TRUE(report.in_libfabric) << name;
    EXPECT_TRUE(report.works) << name << ": " << message(report.works);
    EXPECT_GT(report.read_time, 100ns) << name;
    EXPECT_LT(report.read_time, 5s) << name;
  }
}

TEST(FabricReport, AnAbsentProviderSaysWhy) {
  const auto present = present_providers();
  bool absent = false;
  for (const auto& provider : known_providers()) {
    if (std::ranges::find(present, provider.name) != present.end()) continue;
    absent = true;
    const auto report = report_provider(provider, "127.0.0.1", 10s);
    EXPECT_EQ(code(report.works), Code::kNoProvider);
    EXPECT_THAT(message(report.works), HasSubstr(std::string(provider.name)));
    EXPECT_EQ(code(can_reach(provider, "127.0.0.1")), Code::kNoProvider);
  }
  if (!absent) GTEST_SKIP() << "SKIPPED: this machine has every provider";
}

TEST(FabricReport, NamesTheLibrary) {
  EXPECT_THAT(libfabric_version(), MatchesRegex("[0-9]+\\.[0-9]+"));
  EXPECT_EQ(active_mtu("no such device"), 0U);
}

/// A tree as the kernel shows it: a file a value, and GIDs that are not set are zero.
class RdmaDevices : public ::testing::Test {
 protected:
  void put(const fs::path& file, const std::string& value) const {
    fs::create_directories((directory_ / file).parent_path());
    test::write_file(directory_ / file, std::as_bytes(std::span(value)));
  }
  void put_port(const std::string& device, const std::string& number, const std::string& state,
                const std::string& layer, const std::string& type = "1: CA") const {
    put(fs::path("class/infiniband") / device / "node_type", type + "\n");
    const auto place = fs::path("class/infiniband") / device / "ports" / number;
    put(place / "state", state + "\n");
    put(place / "link_layer", layer + "\n");
    put(place / "rate", "2.5 Gb/sec (1X SDR)\n");
    put(place / "gids/0", "0000:0000:0000:0000:0000:0000:0000:0000\n");
  }

  void put_network(const std::string& name, const std::string& address, int index,
                   int below) const {
    const auto place = fs::path("class/net") / name;
    put(place / "address", address + "\n");
    put(place / "ifindex", std::to_string(index) + "\n");
    put(place / "iflink", std::to_string(below) + "\n");
    put(place / "mtu", "1500\n");
  }

  const test::TemporaryDirectory directory_;
};

TEST_F(RdmaDevices, ThereMayBeNone) {
  EXPECT_THAT(rdma_ports(directory_.path()), IsEmpty());
  EXPECT_EQ(rdma_ports().empty(),
            !fs::exists("/sys/class/infiniband") || fs::is_empty("/sys/class/infiniband"));
}

TEST_F(RdmaDevices, StateAddressesAndNetworkDevice) {
  put_port("rxe0", "1", "4: ACTIVE", "Ethernet");
  put("class/infiniband/rxe0/parent", "eth7\n");
  put("class/infiniband/rxe0/ports/1/gids/1", "fe80:0000:0000:0000:0000:00ff:fe00:0001\n");
  put("class/infiniband/rxe0/ports/1/gids/10", "0000:0000:0000:0000:0000:ffff:c0a8:4d01\n");
  put("class/infiniband/rxe0/ports/1/gid_attrs/ndevs/1", "eth7\n");
  put("class/net/eth7/mtu", "1500\n");
  put_port("mlx5_0", "1", "1: DOWN", "InfiniBand");
  put_port("mlx5_0", "2", "2: INIT", "Ethernet");

  const auto ports = rdma_ports(directory_.path());
  ASSERT_EQ(ports.size(), 3U);
  const auto& rxe = ports[0];
  EXPECT_EQ(rxe.device, "rxe0");
  EXPECT_EQ(rxe.port, 1U);
  EXPECT_TRUE(rxe.active());
  EXPECT_EQ(rxe.technology, "RoCE");
  EXPECT_TRUE(rxe.soft_roce);
  EXPECT_EQ(rxe.net_device, "eth7");
  EXPECT_EQ(rxe.net_mtu, 1500U);
  EXPECT_THAT(rxe.gids, ElementsAre("fe80:0000:0000:0000:0000:00ff:fe00:0001",
                                    "0000:0000:0000:0000:0000:ffff:c0a8:4d01"));
  EXPECT_EQ(ports[1].device, "mlx5_0");
  EXPECT_EQ(ports[1].state, "DOWN");
  EXPECT_THAT(ports[1].gids, IsEmpty());
  EXPECT_EQ(ports[2].port, 2U);
  EXPECT_FALSE(ports[2].active());
}

/// As Linux 6.1 shows it: the entry of the GID's network device gives an error, and the GID is that
/// device's hardware address, which a VLAN of it has as well.
TEST_F(RdmaDevices, SoftIwarpIsToldFromRoce) {
  put_port("siw0", "1", "4: ACTIVE", "Ethernet", "4: RNIC");
  put("class/infiniband/siw0/ports/1/gids/0", "ce0d:da65:6f08:0000:0000:0000:0000:0000\n");
  fs::create_directories(directory_ / "class/infiniband/siw0/ports/1/gid_attrs/ndevs");
  put_network("lo", "00:00:00:00:00:00", 1, 1);
  put_network("a.7", "ce:0d:da:65:6f:08", 9, 3);
  put_network("eth1", "ce:0d:da:65:6f:08", 3, 3);
  put_network("eth2", "ce:0d:da:65:6f:09", 4, 4);
  const auto ports = rdma_ports(directory_.path());
  ASSERT_EQ(ports.size(), 1U);
  EXPECT_EQ(ports[0].technology, "iWARP");
  EXPECT_EQ(ports[0].net_device, "eth1");
  EXPECT_EQ(ports[0].net_mtu, 1500U);
  EXPECT_FALSE(ports[0].soft_roce);
  EXPECT_EQ(rdma_address(ports,
                         std::vector<OwnAddress>{
                             {"eth1", "fe80::1%eth1"}, {"eth2", "10.0.0.2"}, {"eth1", "10.0.0.1"}}),
            "10.0.0.1");
  EXPECT_EQ(rdma_address(ports, std::vector<OwnAddress>{{"eth2", "10.0.0.2"}}), "");
}

/// Where the network device of an iWARP port has its peer in another namespace, or is a VLAN
/// itself.
TEST_F(RdmaDevices, IwarpOnWhatSitsOnAnother) {
  put_port("siw0", "1", "4: ACTIVE", "Ethernet", "4: RNIC");
  put("class/infiniband/siw0/ports/1/gids/0", "ce0d:da65:6f08:0000:0000:0000:0000:0000\n");
  put_network("veth1", "ce:0d:da:65:6f:08", 9, 3);
  EXPECT_EQ(rdma_ports(directory_.path()).at(0).net_device, "veth1");
}

TEST_F(RdmaDevices, AdaptersNameTheirNetworkDevices) {
  put_port("mlx5_0", "1", "4: ACTIVE", "InfiniBand");
  put("class/infiniband/mlx5_0/ports/1/gids/0", "fe80:0000:0000:0000:0c42:a103:0065:1a2c\n");
  put("class/infiniband/mlx5_0/device/net/ib0/dev_port", "0\n");
  put("class/infiniband/mlx5_0/device/net/ib1/dev_port", "1\n");
  put_port("mlx5_1", "1", "4: ACTIVE", "Ethernet");
  put("class/infiniband/mlx5_1/ports/1/gids/0", "fe80:0000:0000:0000:0e42:a1ff:fe65:1a2d\n");
  put("class/infiniband/mlx5_1/ports/1/gids/1", "0000:0000:0000:0000:0000:ffff:c0a8:4d02\n");
  put("class/infiniband/mlx5_1/ports/1/gid_attrs/ndevs/0", "bond0\n");
  put("class/infiniband/mlx5_1/device/net/eth3/dev_port", "0\n");
  const auto ports = rdma_ports(directory_.path());
  ASSERT_EQ(ports.size(), 2U);
  EXPECT_EQ(ports[0].technology, "InfiniBand");
  EXPECT_EQ(ports[0].net_device, "ib0");
  EXPECT_EQ(ports[1].technology, "RoCE");
  EXPECT_EQ(ports[1].net_device, "bond0");
  EXPECT_EQ(rdma_address(ports, std::vector<OwnAddress>{{"ib1", "10.1.0.2"}, {"ib0", "10.1.0.1"}}),
            "10.1.0.1");
  // An address of a container's bond0, which is not that of the machine.
  EXPECT_EQ(rdma_address(ports, std::vector<OwnAddress>{{"bond0", "172.17.0.2"}}), "");
  EXPECT_EQ(rdma_address(ports, std::vector<OwnAddress>{{"bond0.5", "192.168.77.2"}}),
            "192.168.77.2");
}

TEST_F(RdmaDevices, NobodyListensWhereAPortIsDown) {
  put_port("siw0", "1", "1: DOWN", "Ethernet", "4: RNIC");
  put("class/infiniband/siw0/ports/1/gids/0", "ce0d:da65:6f08:0000:0000:0000:0000:0000\n");
  put_network("eth1", "ce:0d:da:65:6f:08", 3, 3);
  const auto ports = rdma_ports(directory_.path());
  EXPECT_EQ(ports.at(0).net_device, "eth1");
  EXPECT_EQ(rdma_address(ports, std::vector<OwnAddress>{{"eth1", "10.0.0.1"}}), "");
}

TEST_F(RdmaDevices, AddressesOfGids) {
  EXPECT_EQ(ipv4_of_gid("0000:0000:0000:0000:0000:ffff:c0a8:4d01"), "192.168.77.1");
  EXPECT_EQ(ipv4_of_gid("fe80:0000:0000:0000:0000:00ff:fe00:0001"), "");
  EXPECT_EQ(ipv4_of_gid("nonsense"), "");
}

}  // namespace
}  // namespace mempool::transport
