// What a node does for its peers: the transport calls it, the node implements it.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "transport/messages.h"

namespace mempool::transport {

/// One session's side of the service. What the session owns (drafts, pins) lives in it and goes
/// with it.
class SessionHandler {
 public:
  virtual ~SessionHandler() = default;
  /// The answer to what needs no waiting and no disk; nothing for the rest. On the I/O thread.
  virtual std::optional<Reply> handle_at_once(const Request& request) = 0;
  /// Of those that may_check_a_file(): the file whose payload has to be checked before it can be
  /// answered, as a number that tells one file from another; nothing: none has. On a worker.
  virtual std::optional<std::size_t> file_to_check(const Request& request) = 0;
  /// May block; on a worker. Called from several threads at once, but for sets in parts, whose
  /// requests come in order.
  virtual Reply handle(Request& request) = 0;
};

struct Accepted {
  Hello hello;  // this node's answer
  std::unique_ptr<SessionHandler> session;
};

class Service {
 public:
  virtual ~Service() = default;
  /// Checks who the peer is; the place for authentication. `host` is the address that it connected
  /// from. On the I/O thread: does not block.
  virtual Result<Accepted> accept(const Hello& peer, const std::string& host) = 0;
};

/// Operations that must run in the order in which they were sent.
constexpr bool is_ordered(Op op) {
  return op == Op::kSetBegin || op == Op::kSetChunk || op == Op::kSetCommit || op == Op::kSource ||
         op == Op::kSetPull;
}

/// Operations that may have to check a whole file first. Those that have to wait for others of the
/// same file, in line and without a worker.
constexpr bool may_check_a_file(Op op) {
  return op == Op::kReadFile || op == Op::kRead;
}

/// Operations that may wait until others have written files.
constexpr bool may_make_room(Op op) {
  return op == Op::kSet || op == Op::kAdopt || op == Op::kLocate || op == Op::kPrefetch ||
         op == Op::kToDisk;
}

}  // namespace mempool::transport
