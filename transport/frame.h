// Framing of control connections: a fixed header, one FlatBuffers message, raw payload bytes.
//
//   bytes 0-3    magic "MPF\n"
//   bytes 4-5    protocol version
//   bytes 6-7    0
//   bytes 8-11   message bytes, at most kMaxMessageBytes
//   bytes 12-15  payload bytes, at most kMaxPayloadBytes
//
// All little-endian. The payload stays outside the message so that it is sent from where it lies
// and received where it belongs.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include <mempool/result.h>

namespace mempool::transport {

inline constexpr std::uint16_t kProtocolVersion = 1;
inline constexpr std::uint32_t kMaxMessageBytes = 1U << 20;
inline constexpr std::uint32_t kMaxHelloBytes = 64U
                                                << 10;  // of who connects; answers may be longer
inline constexpr std::uint32_t kMaxPayloadBytes = 1U << 20;
inline constexpr std::size_t kFrameHeaderBytes = 16;

struct FrameHeader {
  std::uint32_t message_bytes = 0;
  std::uint32_t payload_bytes = 0;
};

using FrameHeaderBytes = std::array<std::byte, kFrameHeaderBytes>;

FrameHeaderBytes encode_frame_header(const FrameHeader& header);

/// Protocol: no frame of MemPool, or larger than any. VersionMismatch: another protocol version.
Result<FrameHeader> decode_frame_header(std::span<const std::byte, kFrameHeaderBytes> bytes);

}  // namespace mempool::transport
