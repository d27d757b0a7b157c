// RegionDoor: where readers on the same host get the descriptors of a node's regions.
//
// An abstract Unix socket, so that it is reached by whoever shares the network namespace with the
// node, as the control connection on loopback is, and by nobody else. Only sessions that have said
// hello are let in. A reader's hazard slots live as long as its socket: not as long as its control
// connection, which may be lost to a reader that only slept and still looks at memory in place.
//
// Thread safety: every call from any thread; close() from the owner's.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include <mempool/result.h>

#include "transport/hazard_slots.h"
#include "transport/region_handover.h"

namespace mempool::transport {

class IoThread;

class RegionDoor {
 public:
  static constexpr std::size_t kMaxReaders = 1024;

  /// `regions`: descriptors, which stay the caller's and outlive the door. `pages` outlives it too.
  static Result<std::unique_ptr<RegionDoor>> open(IoThread& io, std::vector<int> regions,
                                                  HazardPages& pages);
  ~RegionDoor();

  /// What a reader connects to; told in the hello.
  const std::string& name() const noexcept;

  /// A session begins and ends. One that ended lets no reader in; who is in stays.
  void admit(const SessionId& session);
  void dismiss(const SessionId& session);

  /// Before the I/O thread stops; once is enough. Readers keep what they have mapped.
  void close();

  struct State;  // shared with the I/O thread

 private:
  explicit RegionDoor(std::shared_ptr<State> state) noexcept;
  std::shared_ptr<State> state_;
  bool closed_ = false;
};

}  // namespace mempool::transport
