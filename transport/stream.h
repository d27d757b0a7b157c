// Reading and writing one frame on an asio stream, shared by both ends of a session.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <span>
#include <variant>
#include <vector>

#include <asio/awaitable.hpp>
#include <asio/buffer.hpp>
#include <asio/completion_condition.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/read.hpp>
#include <asio/redirect_error.hpp>
#include <asio/use_awaitable.hpp>

#include "transport/frame.h"
#include "transport/wire.h"

namespace mempool::transport {

inline constexpr std::size_t kKeptScratchBytes = 64 << 10;

/// A frame without its payload, which the caller reads to where it belongs.
struct Received {
  std::variant<Hello, Request, Reply> message;
  std::uint32_t payload_bytes = 0;
};

inline std::string reason(const asio::error_code& error) {
  return error.message();
}

/// Transfers all, as asio does without it, and notes when a part has moved: over a slow path one
/// frame takes longer than a lease. What moves at once, in one part, is left to the caller.
struct NotingProgress {
  std::chrono::steady_clock::time_point* moved;  // null: nobody asks

  std::size_t operator()(const asio::error_code& error, std::size_t bytes_so_far) const {
    if (moved && !error && bytes_so_far > 0) *moved = std::chrono::steady_clock::now();
    return asio::transfer_all()(error, bytes_so_far);
  }
};

inline asio::awaitable<Status> read_exactly(asio::ip::tcp::socket& socket, std::span<std::byte> out,
                                            NotingProgress progress) {
  asio::error_code error;
  co_await asio::async_read(socket, asio::buffer(out.data(), out.size()), progress,
                            asio::redirect_error(asio::use_awaitable, error));
  if (error) co_return fail(Code::kUnavailable, "the connection ended: " + reason(error));
  co_return Status{};
}

/// `scratch` holds the message while it is decoded; reused from frame to frame, but given back
/// after a large one.
inline asio::awaitable<Result<Received>> read_frame(
    asio::ip::tcp::socket& socket, std::vector<std::byte>& scratch, NotingProgress progress,
    std::uint32_t max_message_bytes = kMaxMessageBytes) {
  FrameHeaderBytes bytes;
  if (auto read = co_await read_exactly(socket, bytes, progress); !read)
    co_return forward_error(std::move(read));
  auto header = decode_frame_header(bytes);
  if (!header) co_return forward_error(std::move(header));
  if (header->message_bytes > max_message_bytes)
    co_return fail(Code::kProtocol, "the peer's message is larger than any that may come here");
  if (scratch.size() > kKeptScratchBytes) scratch = {};
  scratch.resize(header->message_bytes);
  if (auto read = co_await read_exactly(socket, scratch, progress); !read)
    co_return forward_error(std::move(read));
  auto message = decode(scratch);
  if (!message) co_return forward_error(std::move(message));
  co_return Received{std::move(*message), header->payload_bytes};
}

/// A frame ready to be sent; `payload` must stay in place until it is.
struct Outgoing {
  FrameHeaderBytes header;
  std::vector<std::byte> message;
  std::span<const std::byte> payload;

  Outgoing(std::vector<std::byte> encoded, std::span<const std::byte> bytes)
      : header(encode_frame_header({static_cast<std::uint32_t>(encoded.size()),
                                    static_cast<std::uint32_t>(bytes.size())})),
        message(std::move(encoded)),
        payload(bytes) {}

  std::array<asio::const_buffer, 3> buffers() const {
    return {asio::buffer(header), asio::buffer(message.data(), message.size()),
            asio::buffer(payload.data(), payload.size())};
  }
};

}  // namespace mempool::transport
