// Transfer: requests that move one payload in parts, some of them in flight at once.
#pragma once

#include <chrono>
#include <deque>
#include <span>

#include "transport/connection.h"
#include "transport/frame.h"

namespace mempool {

/// The first error stops it; what is in flight is always waited for, because it uses the caller's
/// memory.
class Transfer {
 public:
  static constexpr std::size_t kPartBytes = transport::kMaxPayloadBytes;

  /// `timeout` is for each part.
  Transfer(transport::Connection& session, std::chrono::milliseconds timeout,
           std::size_t parts_in_flight = 8)
      : session_(session), timeout_(timeout), parts_in_flight_(parts_in_flight) {}
  ~Transfer() { (void)finish(); }
  Transfer(const Transfer&) = delete;
  Transfer& operator=(const Transfer&) = delete;

  /// Waits until one more may be in flight; false after an error.
  bool await_room() {
    if (parts_.size() == parts_in_flight_) collect();
    return status_.has_value();
  }

  bool send(transport::Request request, std::span<const std::byte> payload,
            std::span<std::byte> into) {
    if (!await_room()) return false;
    parts_.push_back({session_.start(std::move(request), payload, into), into.size()});
    return true;
  }

  Status finish() {
    while (!parts_.empty()) collect();
    return status_;
  }

 private:
  struct Part {
    transport::Connection::Call call;
    std::size_t expected_bytes;
  };

  /// After an error the others are given up: their deadline has passed.
  void collect() {
    const auto patience = status_ ? timeout_ : std::chrono::milliseconds(0);
    auto reply = parts_.front().call.wait(transport::Clock::now() + patience);
    if (!reply && status_) status_ = tl::unexpected(reply.error());
    if (reply && reply->payload_bytes != parts_.front().expected_bytes && status_)
      status_ = fail(Code::kProtocol, "the owner sent fewer bytes than were asked for");
    parts_.pop_front();
  }

  transport::Connection& session_;
  const std::chrono::milliseconds timeout_;
  const std::size_t parts_in_flight_;
  std::deque<Part> parts_;
  Status status_;
};

/// Has the owner send `out.size()` bytes from `first.offset` on of what `first` names.
inline Status push_to(transport::Connection& session, const transport::Request& first,
                      std::span<std::byte> out, std::chrono::milliseconds timeout) {
  Transfer transfer(session, timeout);
  for (std::size_t at = 0; at < out.size(); at += Transfer::kPartBytes) {
    transport::Request part = first;
    part.offset += at;
    part.length = std::min(Transfer::kPartBytes, out.size() - at);
    const auto place = out.subspan(at, part.length);
    if (!transfer.send(std::move(part), {}, place)) break;
  }
  return transfer.finish();
}

}  // namespace mempool
