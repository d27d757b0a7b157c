// Frames of control connections, as a RawPeer sends and receives them.
#pragma once

#include <algorithm>
#include <optional>
#include <span>
#include <variant>

#include <xxhash.h>

#include "support/raw_peer.h"
#include "transport/frame.h"
#include "transport/wire.h"

namespace mempool::test {

inline Bytes frame(const std::vector<std::byte>& message, std::span<const std::byte> payload = {}) {
  const auto header = transport::encode_frame_header(
      {static_cast<std::uint32_t>(message.size()), static_cast<std::uint32_t>(payload.size())});
  Bytes all(header.size() + message.size() + payload.size());
  auto end = std::ranges::copy(header, all.begin()).out;
  end = std::ranges::copy(message, end).out;
  std::ranges::copy(payload, end);
  return all;
}

/// As an honest peer of the cluster "mempool" begins.
inline transport::Hello client_hello() {
  transport::Hello hello;
  hello.cluster = XXH3_64bits("mempool", 7);
  hello.session_high = 1;
  hello.session_low = 2;
  return hello;
}

struct Message {
  std::variant<transport::Hello, transport::Request, transport::Reply> message;
  Bytes payload;
};

/// One frame; nothing when the peer hung up or sent none in time.
inline std::optional<Message> receive(RawPeer& peer, Clock::duration limit = kPatience) {
  const auto bytes = peer.receive(transport::kFrameHeaderBytes, limit);
  if (!bytes) return std::nullopt;
  const auto header = transport::decode_frame_header(
      std::span<const std::byte, transport::kFrameHeaderBytes>(bytes->data(), bytes->size()));
  if (!header) return std::nullopt;
  const auto message = peer.receive(header->message_bytes, limit);
  auto payload = peer.receive(header->payload_bytes, limit);
  if (!message || !payload) return std::nullopt;
  auto decoded = transport::decode(*message);
  if (!decoded) return std::nullopt;
  std::optional<Message> received(std::in_place);
  received->message = std::move(*decoded);
  received->payload = std::move(*payload);
  return received;
}

}  // namespace mempool::test
