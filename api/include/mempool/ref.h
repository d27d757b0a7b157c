// DRef and FileRef: small plain values that name a blob in the cluster and a blob file on disk.
//
// Both can be copied, compared, hashed, printed and parsed in any process; neither keeps anything
// alive. Thread safety: plain values.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>

#include <mempool/result.h>

namespace mempool {

/// What makes a blob itself. `node` is stable across restarts of a node at one address;
/// `incarnation` is a random number of one life of it. Object ids are never reused in one life.
struct BlobId {
  std::uint64_t cluster = 0;
  std::uint64_t node = 0;
  std::uint64_t incarnation = 0;
  std::uint64_t object = 0;

  friend bool operator==(const BlobId&, const BlobId&) = default;
};

/// Where a blob lay when the reference was made. Only ever a hint: a reader verifies what it reads.
/// `offset` counts bytes from the start of the region to the blob's header. Generation 0: no hint.
struct LocationHint {
  std::uint32_t region = 0;
  std::uint64_t offset = 0;
  std::uint64_t generation = 0;
};

/// A reference to a blob. Equality and hash use the identity alone.
struct DRef {
  BlobId id;
  std::uint64_t length = 0;  // payload bytes
  LocationHint hint;

  static constexpr std::size_t kEncodedBytes = 65;

  /// "dref1" and the hexadecimal binary form; parse() refuses anything mistyped (it has a
  /// checksum): InvalidArgument. VersionMismatch: another format.
  std::string to_string() const;
  static Result<DRef> parse(std::string_view text);

  /// Version byte 1; little-endian, 8 bytes each: cluster, node, incarnation, object, length,
  /// offset, generation; 4 bytes each: region, checksum (the low half of XXH3-64 of what stands
  /// before).
  std::array<std::byte, kEncodedBytes> encode() const;
  static Result<DRef> decode(std::span<const std::byte> bytes);

  friend bool operator==(const DRef& a, const DRef& b) { return a.id == b.id; }
};

/// A reference to a blob file: where it is, where its payload lies in it, and whose bytes they are.
/// The identity is checked against the file's own header, so a path that now names another file is
/// refused as Corrupt.
struct FileRef {
  std::string path;          // absolute
  std::uint64_t offset = 0;  // of the payload, in bytes
  std::uint64_t length = 0;  // of the payload, in bytes
  BlobId id;

  /// "file1:", fields and checksum in hexadecimal, ":", the path. InvalidArgument, as for DRef.
  std::string to_string() const;
  static Result<FileRef> parse(std::string_view text);

  friend bool operator==(const FileRef&, const FileRef&) = default;
};

}  // namespace mempool

template <>
struct std::hash<mempool::BlobId> {
  std::size_t operator()(const mempool::BlobId& id) const noexcept {
    // Incarnation is random and object ids are dense: one multiply spreads the pair.
    return (id.object ^ id.incarnation ^ id.node) * 0x9E3779B97F4A7C15ULL;
  }
};

template <>
struct std::hash<mempool::DRef> {
  std::size_t operator()(const mempool::DRef& ref) const noexcept {
    return std::hash<mempool::BlobId>{}(ref.id);
  }
};

template <>
struct std::hash<mempool::FileRef> {
  std::size_t operator()(const mempool::FileRef& ref) const noexcept {
    return std::hash<std::string>{}(ref.path) ^ std::hash<mempool::BlobId>{}(ref.id);
  }
};
