// libfabric and nothing else: the reader, and the target in its process, that a remote get is
// compared with.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include <rdma/fi_domain.h>
#include <rdma/fi_endpoint.h>

#include "transport/fabric_info.h"

namespace mempool::bench {

class RawFabric {
 public:
  RawFabric(const transport::Provider& provider, const std::string& host, transport::FabricUse use);

  struct Exposed {
    std::uint64_t key = 0;
    std::uint64_t base = 0;
  };
  /// Makes memory readable; it stays so until the end.
  Exposed expose(std::span<std::byte> memory);
  std::vector<std::byte> address() const;
  /// Makes progress once, and takes no completion.
  void poll();

  fi_addr_t insert(const std::vector<std::byte>& peer);

  struct Source {
    fi_addr_t peer = FI_ADDR_UNSPEC;
    std::uint64_t address = 0;
    std::uint64_t key = 0;
  };
  /// One of the reads that are under way together.
  struct Slot {
    fi_context2 context{};  // first: a completion brings its address
    std::span<std::byte> into;
  };
  void start(const Source& source, Slot& slot);
  /// Waits for any of them: by polling the queue or, where polling starves the provider's own
  /// threads, by sleeping on it.
  Slot& finish_any();

  /// For what is read, where the provider wants it registered.
  void use_as_destination(std::span<std::byte> memory);

 private:
  const bool sleeps_;
  transport::FiInfo info_;
  transport::Fid<fid_fabric> fabric_;
  transport::Fid<fid_domain> domain_;
  transport::Fid<fid_av> av_;
  transport::Fid<fid_cq> cq_;
  std::vector<transport::Fid<fid_mr>> regions_;
  transport::Fid<fid_ep> endpoint_;
  void* destination_descriptor_ = nullptr;
};

/// The program of the target process: exposes memory, prints "ready address=.. key=.. base=..", and
/// polls until it is ended, or sleeps where the provider progresses by itself.
[[noreturn]] void serve_raw_target(const transport::Provider& provider, const std::string& host);

std::string to_hex(const std::vector<std::byte>& bytes);
std::vector<std::byte> from_hex(const std::string& text);

}  // namespace mempool::bench
