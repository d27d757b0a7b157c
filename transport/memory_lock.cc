#include "transport/memory_lock.h"

#include <cerrno>

#include <sys/mman.h>

namespace mempool::transport {

int lock_error(std::uint64_t bytes) {
  if (bytes == 0) return 0;
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) return errno;
  // On fault: no page is touched.
  const int error = mlock2(memory, bytes, MLOCK_ONFAULT) == 0 ? 0 : errno;
  munmap(memory, bytes);
  return error;
}

}  // namespace mempool::transport
