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
    const auto report = report_provider(*find_provider(name), "");
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
    const auto report = report_provider(provider, "127.0.0.1");
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
  void put_port(const std::string& port, const std::string& state, const std::string& layer) const {
    const auto place = fs::path("class/infiniband") / port;
    put(place / "state", state + "\n");
    put(place / "link_layer", layer + "\n");
    put(place / "rate", "2.5 Gb/sec (1X SDR)\n");
    put(place / "gids/0", "0000:0000:0000:0000:0000:0000:0000:0000\n");
  }

  const test::TemporaryDirectory directory_;
};

TEST_F(RdmaDevices, ThereMayBeNone) {
  EXPECT_THAT(rdma_ports(directory_.path()), IsEmpty());
  EXPECT_EQ(rdma_ports().empty(),
            !fs::exists("/sys/class/infiniband") || fs::is_empty("/sys/class/infiniband"));
}

TEST_F(RdmaDevices, StateAddressesAndNetworkDevice) {
  put_port("rxe0/ports/1", "4: ACTIVE", "Ethernet");
  put("class/infiniband/rxe0/parent", "eth7\n");
  put("class/infiniband/rxe0/ports/1/gids/1", "fe80:0000:0000:0000:0000:00ff:fe00:0001\n");
  put("class/infiniband/rxe0/ports/1/gids/10", "0000:0000:0000:0000:0000:ffff:c0a8:4d01\n");
  put("class/infiniband/rxe0/ports/1/gid_attrs/ndevs/1", "eth7\n");
  put("class/net/eth7/mtu", "1500\n");
  put_port("mlx5_0/ports/1", "1: DOWN", "InfiniBand");
  put_port("mlx5_0/ports/2", "2: INIT", "Ethernet");

  const auto ports = rdma_ports(directory_.path());
  ASSERT_EQ(ports.size(), 3U);
  const auto& rxe = ports[0];
  EXPECT_EQ(rxe.device, "rxe0");
  EXPECT_EQ(rxe.port, 1U);
  EXPECT_TRUE(rxe.active());
  EXPECT_EQ(rxe.link_layer, "Ethernet");
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

TEST_F(RdmaDevices, AddressesOfGids) {
  EXPECT_EQ(ipv4_of_gid("0000:0000:0000:0000:0000:ffff:c0a8:4d01"), "192.168.77.1");
  EXPECT_EQ(ipv4_of_gid("fe80:0000:0000:0000:0000:00ff:fe00:0001"), "");
  EXPECT_EQ(ipv4_of_gid("nonsense"), "");
}

}  // namespace
}  // namespace mempool::transport
