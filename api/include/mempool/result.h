// Results as values: every call of MemPool that can fail returns Result<T> or Status.
//
// A Code tells the program what to do next; the message tells a person. Codes are stable across
// releases and travel on the wire, so new ones are added at the end.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include <tl/expected.hpp>

namespace mempool {

enum class Code : std::uint16_t {
  kOk = 0,            // never inside an Error
  kInvalidArgument,   // the call is wrong: correct it
  kNotFound,          // no such blob, file or node: do not retry
  kStaleReference,    // written by an earlier life of its node: the bytes are gone
  kWrongCluster,      // the reference or the peer belongs to another cluster
  kCorrupt,           // a file is damaged, or not the one that was named: use another copy
  kNoSpace,           // memory limit, disk quota or disk is full: delete something or wait
  kExists,            // refuses to overwrite: choose another name or say so
  kPermissionDenied,  // the operating system or the peer refuses
  kUnavailable,       // the peer cannot be reached now: retry later
  kTimeout,           // the deadline passed: the operation may still have taken effect
  kVersionMismatch,   // the peer, file or reference is of another version: upgrade one side
  kProtocol,          // the peer sent what MemPool never sends: it is not MemPool, or it is damaged
  kNoProvider,   // no fabric provider fits what was asked for: see the message for those present
  kLimit,        // a limit of the system or of the pool is too small: raise it
  kForked,       // a pool was used in a forked child: open one there
  kClosed,       // the pool is closed or closing
  kIo,           // the disk or the socket failed: the message has the system's reason
  kUnsupported,  // this build or this kind of pool cannot do it
};

/// The code's name as it is printed, for example "NotFound".
std::string_view to_string(Code code) noexcept;

struct Error {
  Code code = Code::kOk;
  std::string message;

  /// "NotFound: no blob 17 on node ..."
  std::string to_string() const;
};

template <class T>
using Result = tl::expected<T, Error>;
using Status = Result<void>;

inline tl::unexpected<Error> fail(Code code, std::string message) {
  return tl::unexpected<Error>(Error{code, std::move(message)});
}

/// Hands the error of one result on as the error of another.
template <class T>
tl::unexpected<Error> forward_error(Result<T>&& failed) {
  return tl::unexpected<Error>(std::move(failed).error());
}

}  // namespace mempool
