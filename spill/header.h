// The header page of a blob file: the only part of the format that is not the payload itself.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>

#include "spill/spill.h"

namespace mempool::spill {

inline constexpr std::uint32_t kFormatVersion = 1;

/// Longest type name, in bytes: the page holds more, this is the documented limit.
inline constexpr std::size_t kMaxTypeName = 1024;

/// Files of up to so many bytes are one FlatBuffer each: Java and node take no larger one. In
/// larger files the payload is a tail that only `length` and `payload_start` describe.
inline constexpr std::uint64_t kLargestFlatBuffer = (std::uint64_t{1} << 31) - 1;

using HeaderPage = std::array<std::byte, kHeaderBytes>;

struct Header {
  BlobMeta meta;
  std::uint64_t payload_checksum = 0;
  std::uint64_t header_checksum = 0;  // covers every other byte of the page
};

struct EncodedHeader {
  alignas(std::uint64_t) HeaderPage page;
  std::uint64_t header_checksum = 0;
};

/// InvalidArgument: the type name is longer than kMaxTypeName.
Result<EncodedHeader> encode_header(const BlobMeta& meta, std::uint64_t payload_checksum);

/// Verifies structure, checksum, version and that the payload ends where the file of `file_bytes`
/// ends. Corrupt or VersionMismatch; `path` is for the message.
Result<Header> decode_header(const HeaderPage& page, std::uint64_t file_bytes,
                             const std::filesystem::path& path);

/// NoSpace or InvalidArgument where no file can hold such a blob.
Status check_meta(const BlobMeta& meta, const std::filesystem::path& path);

}  // namespace mempool::spill
