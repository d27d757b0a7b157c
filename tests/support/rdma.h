// The RDMA device of this machine, for tests that need one.
#pragma once

#include <string>

namespace mempool::test {

/// The first IPv4 address of a device whose link is up; empty where there is none.
const std::string& rdma_address();

/// Why a test that needs a device is skipped.
inline constexpr const char* kNoRdma =
    "SKIPPED: no RDMA device is up on this machine; ci/soft-roce runs commands with one";

}  // namespace mempool::test
