// Nodes as processes of their own, and clients of them in the test's process.
#pragma once

#include <string>

#include <gmock/gmock.h>

#include <mempool/mempool.h>

#include "support/child.h"
#include "support/daemon.h"
#include "support/files.h"
#include "support/pools.h"
#include "support/rdma.h"

namespace mempool::test {

class ClusterTest : public ::testing::Test {
 protected:
  fs::path spill_directory(const std::string& name) const { return directory_ / name; }

  static Pool connect(const Daemon& node, const Words& providers = {},
                      std::uint32_t timeout_ms = 30'000) {
    ClusterOptions options;
    options.providers = providers;
    options.timeout_ms = timeout_ms;
    return must(Pool::connect(node.address(), options));
  }

  /// A node of the cluster in this process, which knows `other`.
  Pool node_here(const Daemon& other, const Words& providers = {},
                 const std::string& host = "127.0.0.1") const {
    PoolOptions options;
    options.providers = providers;
    options.listen = host + ":0";
    options.insecure = host != "127.0.0.1";
    options.join = {other.address()};
    options.max_memsize = 16 * kMiB;
    options.spill_dir = spill_directory("here");
    auto pool = must(Pool::open(options));
    const auto linked = [&] {
      for (const auto& node : must(pool.nodes()))
        if (node.id == other.node_id() && node.alive) return true;
      return false;
    };
    if (!eventually(linked)) throw std::runtime_error("the nodes do not find each other");
    return pool;
  }

  /// Nothing is left of what clients did: no blob, no bytes, no pin, no file.
  static void expect_empty(Pool& pool, const Daemon& node) {
    const auto stats = store_stats(pool);
    EXPECT_EQ(stats.blobs, 0U);
    EXPECT_EQ(stats.payload_bytes, 0U);
    EXPECT_EQ(stats.disk_bytes, 0U);
    EXPECT_EQ(stats.pinned_blobs, 0U);
    EXPECT_TRUE(files_below(node.spill_directory(), ".blob").empty());
    EXPECT_TRUE(files_below(node.spill_directory(), ".tmp").empty());
  }

  const TemporaryDirectory directory_;
};

/// Every case runs over the best TCP provider of the machine, over `sockets`, the last resort, and
/// over `verbs` where there is an RDMA device.
inline constexpr const char* kProviders[] = {"best", "sockets", "verbs"};

class ProviderTest : public ClusterTest, public ::testing::WithParamInterface<const char*> {
 protected:
  void SetUp() override {
    if (rdma() && rdma_address().empty()) GTEST_SKIP() << kNoRdma;
  }

  static bool rdma() { return GetParam() == std::string("verbs"); }
  static std::string provider() {
    return GetParam() == std::string("best") ? best_tcp_provider() : GetParam();
  }
  static std::string path() { return (rdma() ? "rdma (" : "tcp (") + provider() + ")"; }
  static Path kind() { return rdma() ? Path::kRdma : Path::kTcp; }

  /// RDMA devices have no loopback address.
  static std::string host() { return rdma() ? rdma_address() : "127.0.0.1"; }
  /// A node's arguments: where it listens, and with this provider alone.
  static Words listening(const std::string& port = "0") {
    Words words{"--listen", host() + ":" + port};
    if (rdma()) words.emplace_back("--insecure");
    return words;
  }
  static Words only(const std::string& port = "0") {
    auto words = listening(port);
    words.insert(words.end(), {"--provider", provider()});
    return words;
  }
  static Pool client_of(const Daemon& node, std::uint32_t timeout_ms = 30'000) {
    return connect(node, {provider()}, timeout_ms);
  }
  Pool node_here(const Daemon& other) const {
    return ClusterTest::node_here(other, {provider()}, host());
  }
};

inline std::string provider_name(const ::testing::TestParamInfo<const char*>& info) {
  return info.param;
}

}  // namespace mempool::test
