// Nodes as processes of their own, and clients of them in the test's process.
#pragma once

#include <set>
#include <string>

#include <gmock/gmock.h>

#include <mempool/mempool.h>

#include "support/child.h"
#include "support/daemon.h"
#include "support/files.h"
#include "support/pools.h"
#include "support/rdma.h"

namespace mempool::test {

inline constexpr std::uint64_t kHeaderBytes = 64;  // in front of every blob in memory

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

  static std::uint64_t quarantined(Pool& pool) { return store_stats(pool).quarantined_bytes; }
  /// Sets and deletes until the memory of the region was used again, and all of it.
  static void use_all_memory(Pool& pool) {
    const auto capacity = store_stats(pool).capacity_bytes;
    std::set<std::uint64_t> used;  // pages: within one, places differ each time
    for (std::uint64_t seed = 1, again = 0; again * kMiB < capacity; ++seed) {
      ASSERT_LT(seed, 2000U) << "memory is not used again: this test shows nothing";
      const auto ref = set(pool, seed);
      if (!used.insert(ref.hint.offset / 4096).second) ++again;
      must(pool.pooldelete(ref));
    }
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

/// A blob that a patient client reads over TCP, from a node that can be paused.
class PausedOwnerTest : public ClusterTest {
 protected:
  void SetUp() override { ASSERT_TRUE(holds(client_, ref_, 1)); }

  bool is_read_again() {
    return eventually([&] { return client_.poolget(ref_).has_value(); });
  }

  Daemon node_{spill_directory("a")};
  Pool client_ = connect(node_, {best_tcp_provider()}, 120'000);
  const DRef ref_ = set(client_, 1);
};

/// The fabric providers: the best TCP provider of the machine, `sockets`, the last resort, and
/// `verbs` where there is an RDMA device.
inline constexpr const char* kProviders[] = {"best", "sockets", "verbs"};

/// Every case runs over several ways to the blobs of other processes: the fabric providers, shared
/// memory ("shared"), spill files that are mapped ("files"), and nothing but what the owner sends
/// ("push").
class ProviderTest : public ClusterTest, public ::testing::WithParamInterface<const char*> {
 protected:
  void SetUp() override {
    if (rdma() && rdma_address().empty()) GTEST_SKIP() << kNoRdma;
  }

  static bool rdma() { return GetParam() == std::string("verbs"); }
  static std::string provider() {
    return GetParam() == std::string("best") ? best_tcp_provider() : GetParam();
  }
  /// How the bytes of a blob in the owner's memory come.
  static Path kind() {
    const std::string name = GetParam();
    if (name == "shared" || name == "shm" || name == "auto") return Path::kSharedMemory;
    if (name == "files" || name == "push") return Path::kPush;
    return rdma() ? Path::kRdma : Path::kTcp;
  }
  /// How those of a blob that is in its file alone come.
  static Path kind_from_disk() {
    return GetParam() == std::string("files") ? Path::kMappedFile : Path::kPush;
  }
  static bool over_a_fabric() {
    return kind() == Path::kRdma || kind() == Path::kTcp || GetParam() == std::string("shm");
  }
  /// Whether the owner has nothing to do with a read of its memory.
  static bool unseen() { return kind() != Path::kPush; }
  /// kind(), as it is printed.
  static std::string path() {
    const std::string name(to_string(kind()));
    return over_a_fabric() ? name + " (" + provider() + ")" : name;
  }

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
