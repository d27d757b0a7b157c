#include <mempool/view.h>

namespace mempool {

std::string_view to_string(Path path) noexcept {
  switch (path) {
    case Path::kInProcess:
      return "in process";
    case Path::kSharedMemory:
      return "shared memory";
    case Path::kMappedFile:
      return "mapped file";
    case Path::kRdma:
      return "rdma";
    case Path::kTcp:
      return "tcp";
    case Path::kPush:
      return "push";
  }
  return "unknown";
}

}  // namespace mempool
