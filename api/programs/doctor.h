// `mempool doctor`: whether a node, or a client, would do well on this machine, found out by
// trying.
//
// Every examination tries what a node would do (size the memory, lock it, write to the spill
// directory, read over each provider) and undoes it; nothing is left behind, nor is memory touched.
// Exit status: 0 no problem, 1 a problem, 2 wrong usage. Warnings are no problem.
#pragma once

#include <string>

#include <mempool/options.h>

#include "api/programs/finding.h"

namespace mempool::programs {

struct DoctorCommand {
  std::string peer;  // HOST:PORT of a node; empty: this machine alone
  bool json = false;
};

/// Prints the findings; returns the exit status.
int doctor(const PoolOptions& options, const DoctorCommand& command);

// The examinations, each in a file of its own: doctor_memory.cc and so on.

/// Room for the node's memory, the memory-lock limit, huge pages, shared memory.
Findings examine_memory(const PoolOptions& options);
/// File system, room and rights of the spill directory.
Findings examine_spill_directory(const PoolOptions& options);
/// Processors, threads, open files, fork, clock.
Findings examine_system(const PoolOptions& options);
/// Where it would listen; nothing where that is not said.
Findings examine_listen(const PoolOptions& options);
/// RDMA devices and fabric providers.
Findings examine_fabric(const PoolOptions& options);
/// The path to a node, and a measured round trip.
Findings examine_peer(const std::string& peer, const ClusterOptions& options);

}  // namespace mempool::programs
