// Options of pools and of calls. Sizes are bytes, times are milliseconds.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace mempool {

enum class Policy : std::uint8_t { kLru, kMru };

/// How a program takes part in a cluster; shared by nodes and clients.
struct ClusterOptions {
  std::string cluster = "mempool";  // nodes and clients of one name form one cluster
  // Allowed paths: fabric providers by name, "shared" (memory of nodes on this host), "files"
  // (spill files that this process sees), "push" (only what the owner sends); empty or "auto": all
  // present, but for the provider "shm". "pull": owners read large sets out of this process over
  // TCP providers as well.
  std::vector<std::string> providers;
  bool require_rdma = false;  // refuse to read over anything but RDMA
  // A one-sided read is right if it was short (PoolOptions::read_window_ms) or if the blob is still
  // there after it. True: always look, on machines that may be paused without their clock noticing.
  bool reread = false;
  // Patience with one operation, unless the call says otherwise; with each part of those that move
  // more than 1 MiB, so that it measures standstill and not size.
  std::uint32_t timeout_ms = 30'000;
};

/// A pool that stores blobs. Without `listen` it is private to the process and uses no network.
struct PoolOptions : ClusterOptions {
  std::uint64_t max_memsize = 1ULL << 30;  // hard limit on payload bytes in memory: 1 to 2^45
  std::uint64_t max_disksize = 0;          // quota of spill files; 0: what the disk has
  // Made with the first file that goes there; other nodes may have the same. Empty: none, and blobs
  // leave memory only by being deleted or, with drop_on_evict, discarded.
  std::string spill_dir = ".mempool";
  bool drop_on_evict = false;     // discard every blob instead of spilling it
  Policy policy = Policy::kLru;   // which blobs leave memory first
  std::string listen;             // HOST:PORT that peers connect to; port 0 picks one
  std::vector<std::string> join;  // HOST:PORT of other nodes; they may start later
  bool insecure = false;          // allow `listen` on other than loopback, without authentication
  std::uint32_t read_window_ms = 250;  // W: peers verify a one-sided read slower than this again
  std::uint32_t quarantine_ms = 1000;  // Q > W: how long freed memory waits before it is reused
};

/// Of SetOptions::type_name; the blob's file has no room for more.
inline constexpr std::uint64_t kMaxTypeNameBytes = 1024;

struct SetOptions {
  std::uint64_t node = 0;  // node id to store on; 0: this node, for a client the node it knows
  std::string type_name;  // free text kept with the blob and in its file, kMaxTypeNameBytes at most
  bool drop_on_evict = false;    // discard instead of spilling; PoolOptions has it for all blobs
  bool retain = false;           // keep the spill file when the blob is deleted or the node ends
  std::uint32_t timeout_ms = 0;  // 0: the pool's
};

struct GetOptions {
  // 0: the pool's. Not for what this process stores: in memory it is there at once; a spilled blob
  // is given 30 s to find room in memory, and is then shown from its file all the same.
  std::uint32_t timeout_ms = 0;
  bool touch = true;  // false: the blob keeps its place in the order of use
};

struct SaveOptions {
  bool overwrite = false;
};

}  // namespace mempool
