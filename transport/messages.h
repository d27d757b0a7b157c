// The messages of the control connection as plain values. wire.h turns them into bytes and back.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include <mempool/info.h>
#include <mempool/options.h>
#include <mempool/ref.h>
#include <mempool/result.h>
#include <mempool/view.h>

namespace mempool::transport {

/// One fabric provider as a process tells peers of it: where its endpoint is and what opens its
/// regions. `keys` and `bases` have one element a region; a source is one region.
struct ProviderOffer {
  std::string name;
  std::vector<std::byte> address;
  std::vector<std::uint64_t> keys;
  std::vector<std::uint64_t> bases;
};

/// The first message in either direction. A client has no address, node id, provider or region.
/// The session id comes from whoever connects. `authentication` is reserved: nothing checks it yet.
struct Hello {
  std::uint64_t cluster = 0;
  std::uint64_t node = 0;
  std::uint64_t incarnation = 0;
  std::uint64_t session_high = 0;
  std::uint64_t session_low = 0;
  std::string address;
  std::vector<std::byte> authentication;
  std::vector<ProviderOffer> providers;
  std::vector<std::uint64_t> region_bytes;
  std::uint32_t read_window_ms = 0;
  std::uint32_t quarantine_ms = 0;
  std::uint32_t lease_ms = 0;
  std::vector<NodeInfo> members;
  std::string door;   // where sessions of this host get the regions; empty: nowhere
  std::string bound;  // the host in `address` as a number
};

/// What the owner's file system says of a spill file. While it says the same, nobody changed the
/// file.
struct FileStamp {
  std::uint64_t device = 0;
  std::uint64_t inode = 0;  // 0: no stamp
  std::uint64_t size = 0;
  std::int64_t modified_ns = 0;
  std::int64_t changed_ns = 0;
};

/// Numbers are on the wire: add at the end.
enum class Op : std::uint8_t {
  kPing = 1,
  kSet,        // options, length; payload: all of the bytes -> ref
  kSetBegin,   // blob.object: a number for the draft, new in the session; options, length
  kSetChunk,   // blob.object: the draft; payload: the next bytes
  kSetCommit,  // blob.object: the draft, release -> ref; dropped with `release`, or not complete
  kLocate,     // blob, peek -> ref with a fresh hint; in a file only: no hint, file, stamp
  kRead,       // blob, offset, length, peek -> payload
  kDelete,     // blob
  kToDisk,     // blob, release -> file
  kPrefetch,   // blob
  kAdopt,      // file, options -> ref
  kInspect,    // blob -> ref, info
  kNodes,      // -> nodes
  kStats,      // -> stats
  kReadFile,   // file, offset, length -> payload
  kTouch,      // payload: object ids (64 bits, little-endian) that were read without asking
  kSource,     // source, length: memory that the owner may read; once a session
  kSetPull,    // blob.object: the draft; offset, length: where in the source the next bytes are
};

struct Request {
  std::uint64_t id = 0;  // set by the connection
  Op op = Op::kPing;
  BlobId blob;
  std::uint64_t offset = 0;
  std::uint64_t length = 0;
  bool release = false;
  bool peek = false;  // leaves the order of use as it is
  std::uint32_t timeout_ms = 0;
  SetOptions options;
  FileRef file;
  ProviderOffer source;
  // Filled on the receiving side only.
  std::vector<std::byte> payload;
  std::chrono::steady_clock::time_point received{};
};

/// A reply with this id is nobody's: a sign of life.
inline constexpr std::uint64_t kNoRequest = ~std::uint64_t{0};

struct Reply {
  std::uint64_t id = 0;  // of the request
  Code code = Code::kOk;
  std::string message;
  DRef ref;
  FileRef file;
  FileStamp stamp;
  BlobInfo info;
  std::vector<NodeInfo> nodes;
  Stats stats;
  View held;                           // sending side: keeps `payload` in place until it is sent
  std::span<const std::byte> payload;  // sending side: bytes that follow the message
  std::uint64_t payload_bytes = 0;     // receiving side: how many followed
};

Reply error_reply(const Error& error);

}  // namespace mempool::transport
