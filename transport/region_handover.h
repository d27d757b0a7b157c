// How an owner hands the descriptors of its regions to a reader on the same host: the two messages
// on their Unix socket.
//
// The reader names the session that it has on the control connection; the owner answers with the
// session's page of hazard slots and its regions. The socket then stays open and silent: when it
// closes, the reader is gone and so are its slots.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace mempool::transport {

struct SessionId {
  std::uint64_t high = 0;
  std::uint64_t low = 0;
  friend auto operator<=>(const SessionId&, const SessionId&) = default;
};

/// From the reader.
struct HandoverRequest {
  static constexpr std::uint64_t kMagic = 0x3152564F444E4148ULL;  // "HANDOVR1"
  std::uint64_t magic = kMagic;
  SessionId session;
};

/// From the owner, with 1 + regions descriptors: the slots', then the regions'.
struct HandoverReply {
  std::uint64_t magic = HandoverRequest::kMagic;
  std::uint32_t regions = 0;
  std::uint32_t slots = 0;
};

inline constexpr std::size_t kMaxRegionsHandedOver = 16;

/// The address of an abstract Unix socket, which ends with its owner and leaves no file.
inline std::string abstract_address(const std::string& name) {
  return std::string(1, '\0') + name;
}

}  // namespace mempool::transport
