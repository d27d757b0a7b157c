#include "transport/frame.h"

#include <cstring>
#include <string>

namespace mempool::transport {
namespace {

constexpr std::uint32_t kMagic = 0x0A46504DU;  // "MPF\n"

template <class T>
void put(std::byte* at, T value) {
  std::memcpy(at, &value, sizeof value);
}

template <class T>
T take(const std::byte* at) {
  T value;
  std::memcpy(&value, at, sizeof value);
  return value;
}

}  // namespace

FrameHeaderBytes encode_frame_header(const FrameHeader& header) {
  FrameHeaderBytes bytes{};
  put(bytes.data(), kMagic);
  put(bytes.data() + 4, kProtocolVersion);
  put(bytes.data() + 8, header.message_bytes);
  put(bytes.data() + 12, header.payload_bytes);
  return bytes;
}

Result<FrameHeader> decode_frame_header(std::span<const std::byte, kFrameHeaderBytes> bytes) {
  if (take<std::uint32_t>(bytes.data()) != kMagic)
    return fail(Code::kProtocol, "the peer does not speak MemPool's protocol");
  if (const auto version = take<std::uint16_t>(bytes.data() + 4); version != kProtocolVersion)
    return fail(Code::kVersionMismatch, "the peer speaks protocol version " +
                                            std::to_string(version) + ", this program version " +
                                            std::to_string(kProtocolVersion) +
                                            ": upgrade the older one");
  const FrameHeader header{take<std::uint32_t>(bytes.data() + 8),
                           take<std::uint32_t>(bytes.data() + 12)};
  if (header.message_bytes > kMaxMessageBytes || header.payload_bytes > kMaxPayloadBytes)
    return fail(Code::kProtocol, "the peer announced a frame of " +
                                     std::to_string(header.message_bytes) + " + " +
                                     std::to_string(header.payload_bytes) +
                                     " bytes, more than any frame of MemPool has");
  return header;
}

}  // namespace mempool::transport
