#include <mempool/result.h>

namespace mempool {

std::string_view to_string(Code code) noexcept {
  switch (code) {
    case Code::kOk:
      return "Ok";
    case Code::kInvalidArgument:
      return "InvalidArgument";
    case Code::kNotFound:
      return "NotFound";
    case Code::kStaleReference:
      return "StaleReference";
    case Code::kWrongCluster:
      return "WrongCluster";
    case Code::kCorrupt:
      return "Corrupt";
    case Code::kNoSpace:
      return "NoSpace";
    case Code::kExists:
      return "Exists";
    case Code::kPermissionDenied:
      return "PermissionDenied";
    case Code::kUnavailable:
      return "Unavailable";
    case Code::kTimeout:
      return "Timeout";
    case Code::kVersionMismatch:
      return "VersionMismatch";
    case Code::kProtocol:
      return "Protocol";
    case Code::kNoProvider:
      return "NoProvider";
    case Code::kLimit:
      return "Limit";
    case Code::kForked:
      return "Forked";
    case Code::kClosed:
      return "Closed";
    case Code::kIo:
      return "Io";
    case Code::kUnsupported:
      return "Unsupported";
  }
  return "Unknown";
}

std::string Error::to_string() const {
  return std::string(mempool::to_string(code)) + ": " + message;
}

}  // namespace mempool
