// Fabric: one opened provider - domain, endpoint, address vector, completion queue - and one-sided
// reads over it.
//
// Progress: a thread that waits for its own read polls the completion queue for a short while, then
// blocks; the fabric's own thread takes over whenever nobody polls, and blocks in the kernel while
// the fabric is idle. Providers that need the target's CPU get it from that thread too.
//
// Memory: a read keeps its Buffer alive until the completion, also when its caller has timed out.
//
// Thread safety: every call from any thread.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <stop_token>
#include <string>
#include <vector>

#include <mempool/result.h>

#include "transport/buffer.h"
#include "transport/provider.h"

namespace mempool::transport {

/// A registration of memory for remote or local reading; ends with the object. The fabric outlives
/// it.
class MemoryRegion {
 public:
  virtual ~MemoryRegion() = default;
  std::uint64_t key() const noexcept { return key_; }
  /// What a peer adds to an offset in the region.
  std::uint64_t base() const noexcept { return base_; }
  void* descriptor() const noexcept { return descriptor_; }

 protected:
  std::uint64_t key_ = 0;
  std::uint64_t base_ = 0;
  void* descriptor_ = nullptr;
};

/// An address of a peer's endpoint in a fabric's address vector.
using FabricAddress = std::uint64_t;

struct RemoteRange {
  FabricAddress peer = 0;
  std::uint64_t address = 0;  // base + offset
  std::uint64_t key = 0;
};

class Fabric;
struct Flight;

/// A read under way. One that is dropped goes on: its buffer stays the fabric's until the bytes
/// have come. Ends before its fabric.
class PendingRead {
 public:
  PendingRead() = default;
  PendingRead(Fabric& fabric, Flight* flight) noexcept : fabric_(&fabric), flight_(flight) {}
  PendingRead(PendingRead&& other) noexcept
      : fabric_(other.fabric_), flight_(std::exchange(other.flight_, nullptr)) {}
  PendingRead& operator=(PendingRead&& other) noexcept {
    std::swap(fabric_, other.fabric_);
    std::swap(flight_, other.flight_);
    return *this;
  }
  ~PendingRead() {
    if (flight_) drop();
  }

  /// Returns when all of it is there. Once. Timeout, counted from here; Unavailable, also when the
  /// peer is known to have `ended`: providers do not always tell. Bytes may still arrive then, into
  /// a buffer that nobody uses.
  inline Status finish(std::chrono::steady_clock::duration timeout,
                       const std::stop_token& ended = {});

 private:
  inline void drop() noexcept;

  Fabric* fabric_ = nullptr;
  Flight* flight_ = nullptr;
};

class Fabric {
 public:
  /// NoProvider, Limit, Unavailable. `host`: this node's own address, or that of a peer.
  static Result<std::unique_ptr<Fabric>> listen(const Provider& provider, const std::string& host);
  static Result<std::unique_ptr<Fabric>> connect(const Provider& provider, const std::string& host);
  /// Waits up to two seconds for reads whose callers have left.
  virtual ~Fabric() = default;

  virtual const Provider& provider() const noexcept = 0;
  virtual std::vector<std::byte> address() const = 0;

  /// Makes memory readable for peers. Limit: the memory-lock limit is too small.
  virtual Result<std::unique_ptr<MemoryRegion>> expose(std::span<std::byte> memory) = 0;

  virtual Result<FabricAddress> insert(std::span<const std::byte> peer_address) = 0;
  virtual void remove(FabricAddress peer) noexcept = 0;

  /// Starts to read `bytes` bytes from `from` to offset `at` of the buffer, split as the provider
  /// needs it. finish() posts what the provider does not take at once, and says what it refuses.
  virtual PendingRead start(const RemoteRange& from, const Buffer& into, std::size_t at,
                            std::size_t bytes) = 0;
  Status read(const RemoteRange& from, const Buffer& into, std::size_t at, std::size_t bytes,
              std::chrono::steady_clock::duration timeout, const std::stop_token& ended = {}) {
    return start(from, into, at, bytes).finish(timeout, ended);
  }

 private:
  friend class PendingRead;
  virtual Status finish(Flight* flight, std::chrono::steady_clock::duration timeout,
                        const std::stop_token& ended) = 0;
  virtual void leave(Flight* flight) noexcept = 0;
};

Status PendingRead::finish(std::chrono::steady_clock::duration timeout,
                           const std::stop_token& ended) {
  return fabric_->finish(std::exchange(flight_, nullptr), timeout, ended);
}

void PendingRead::drop() noexcept {
  fabric_->leave(flight_);
}

}  // namespace mempool::transport
