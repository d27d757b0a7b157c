#include "support/rdma.h"

#include "transport/rdma_devices.h"

namespace mempool::test {

const std::string& rdma_address() {
  static const std::string address =
      transport::rdma_address(transport::rdma_ports(), transport::own_addresses());
  return address;
}

}  // namespace mempool::test
