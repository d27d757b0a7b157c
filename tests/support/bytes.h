// Bytes whose content follows from a seed, so that any mix-up of blobs or parts of them shows.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>
#include <vector>

namespace mempool::test {

using Bytes = std::vector<std::byte>;

inline constexpr std::uint64_t kMiB = std::uint64_t{1} << 20;

/// splitmix64: eight bytes of pattern, numbered from 0.
constexpr std::uint64_t pattern_word(std::uint64_t seed, std::uint64_t number) {
  std::uint64_t mixed = (seed * 0x632BE59BD9B4E019ULL) + (number + 1) * 0x9E3779B97F4A7C15ULL;
  mixed = (mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9ULL;
  mixed = (mixed ^ (mixed >> 27)) * 0x94D049BB133111EBULL;
  return mixed ^ (mixed >> 31);
}

Bytes pattern(std::size_t size, std::uint64_t seed = 1);

Bytes copy_of(std::span<const std::byte> bytes);

inline Bytes bytes_of(std::string_view text) {
  const auto* begin = reinterpret_cast<const std::byte*>(text.data());
  return {begin, begin + text.size()};
}

inline std::string_view text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// Said in one line: gtest would print megabytes.
inline bool same(std::span<const std::byte> a, std::span<const std::byte> b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size()) == 0);
}

}  // namespace mempool::test
