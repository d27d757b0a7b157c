// What inspect(), nodes() and stats() report. Plain values; counters are totals since start.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include <mempool/ref.h>
#include <mempool/view.h>

namespace mempool {

struct BlobInfo {
  DRef ref;  // with a fresh hint
  std::string type_name;
  bool in_memory = false;  // in the arena or mapped
  bool on_disk = false;
  std::uint32_t pins = 0;  // views in the owner's process, those that are being sent included
  bool drop_on_evict = false;
  bool retain = false;
  std::string file;  // empty: never written
  std::string path;  // how this process reaches the bytes: "in process", "tcp (net)", ...
};

struct NodeInfo {
  std::uint64_t id = 0;
  std::string address;  // HOST:PORT of the control connection; empty: private to its process
  std::uint64_t incarnation = 0;
  bool alive = false;                  // linked to whoever reports it
  std::vector<std::string> providers;  // that it listens over, best first
  std::string bound;                   // the host in `address` as a number, as the node sees it;
                                       // empty: not known
};

/// Counters of one node's store.
struct StoreStats {
  std::uint64_t payload_bytes = 0;  // live in memory, at most max_memsize
  std::uint64_t max_memsize = 0;
  std::uint64_t capacity_bytes = 0;  // of the regions
  std::uint64_t blobs = 0;
  std::uint64_t blobs_in_memory = 0;
  std::uint64_t blobs_on_disk = 0;
  std::uint64_t disk_bytes = 0;               // of spill files, headers included
  std::uint64_t max_disksize = 0;             // 0: what the disk has
  std::uint64_t spilled_bytes = 0;            // payload ever written by eviction
  std::uint64_t hits = 0;                     // gets and locates answered from memory; not those
                                              // of readers who read it themselves
  std::uint64_t misses = 0;                   // those that needed a file, or found nothing
  std::uint64_t evictions = 0;                // blobs that left memory so that others have room
  std::uint64_t fragmentation_evictions = 0;  // of these, for want of one free piece of memory
  std::uint64_t quarantined_bytes = 0;        // freed, headers included, not yet used again
  std::uint64_t pinned_blobs = 0;             // that views of the owner's process show
  friend bool operator==(const StoreStats&, const StoreStats&) = default;
};

struct PathStats {
  std::uint64_t gets = 0;
  std::uint64_t bytes = 0;
  friend bool operator==(const PathStats&, const PathStats&) = default;
};

struct Stats {
  std::uint64_t node = 0;
  StoreStats store;
  // Gets of the process that reports, not of its peers; path and provider, as BlobInfo::path has
  // it.
  std::map<std::string, PathStats> gets_by_path;
  std::uint64_t requests_served = 0;  // messages of peers, without pings and reports of recency
  std::uint64_t recency_reports = 0;  // messages of peers that tell what they read without asking
  std::uint64_t sessions = 0;         // open ones
  // Why reads of other nodes' memory were not accepted at once: "rejected" (other bytes are there),
  // "late" (the header was read again), "failed" (the provider), "not in memory".
  std::map<std::string, std::uint64_t> retries;
  // Nodes that came to be read by another provider than before, because one failed, or works again.
  std::uint64_t path_changes = 0;
  std::uint64_t rss_bytes = 0;  // resident memory of the process
};

}  // namespace mempool
