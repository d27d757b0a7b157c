// What all Files of one file share.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>

#include "spill/quota.h"
#include "spill/spill.h"

namespace mempool::spill {

struct File::State {
  /// That of the file with this stamp and header, which this process may have opened before.
  static std::shared_ptr<State> of(const Stamp& found, std::uint64_t header_checksum);

  std::uint64_t header_checksum = 0;  // of the header as it was written or first read

  // Held while the payload is checked, so that others wait instead of reading it too.
  std::mutex checking;
  // The file for which the payload's checksum is known good; inode 0: none. Whoever asks for it
  // never waits for a check.
  std::mutex mutex;
  Stamp verified;

  std::shared_ptr<Quota> quota;      // of the Directory that made the file, if one did
  std::atomic<bool> removed{false};  // its bytes were given back
};

}  // namespace mempool::spill
