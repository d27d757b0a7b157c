// What the copies of a File share.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>

#include "spill/quota.h"
#include "spill/spill.h"

namespace mempool::spill {

struct File::State {
  std::uint64_t header_checksum = 0;  // of the header as it was written or first read

  std::mutex
      mutex;       // held while the payload is checked, so that others wait instead of reading too
  Stamp verified;  // the file for which the payload's checksum is known good; inode 0: none

  std::shared_ptr<Quota> quota;      // of the Directory that made the file, if one did
  std::atomic<bool> removed{false};  // its bytes were given back
};

}  // namespace mempool::spill
