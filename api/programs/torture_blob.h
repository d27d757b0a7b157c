// The bytes of a torture blob: every one follows from the run's seed, the blob's number and its
// length, so that a reader needs nothing but these to tell whether they are right.
#pragma once

#include <cstdint>
#include <cstring>
#include <optional>
#include <span>

namespace mempool::torture {

/// splitmix64: fast, and every seed is a good one.
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}

  std::uint64_t next() {
    state_ += 0x9E3779B97F4A7C15ULL;
    return mix(state_);
  }
  /// 0 to limit - 1.
  std::uint64_t below(std::uint64_t limit) { return next() % limit; }
  bool one_in(std::uint64_t n) { return below(n) == 0; }
  /// 0 to 1.
  double fraction() { return static_cast<double>(next() >> 11) * 0x1p-53; }

  static std::uint64_t mix(std::uint64_t x) {
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ULL;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBULL;
    return x ^ (x >> 31);
  }

 private:
  std::uint64_t state_;
};

class BlobBytes {
 public:
  BlobBytes(std::uint64_t seed, std::uint64_t number, std::uint64_t length)
      : first_(Random::mix(seed ^ Random::mix(number ^ Random::mix(length)))) {}

  /// Fills the whole blob.
  void fill(std::span<std::byte> blob) const {
    std::size_t at = 0;
    for (; at + kWord <= blob.size(); at += kWord) {
      const auto word = word_at(at);
      std::memcpy(blob.data() + at, &word, kWord);
    }
    for (; at < blob.size(); ++at) blob[at] = byte_at(at);
  }

  /// The place in the blob of the first wrong byte; `bytes` begin at `offset` of the blob.
  std::optional<std::uint64_t> first_wrong(std::span<const std::byte> bytes,
                                           std::uint64_t offset = 0) const {
    std::size_t at = 0;
    for (; at < bytes.size() && (offset + at) % kWord != 0; ++at)
      if (bytes[at] != byte_at(offset + at)) return offset + at;
    // Block by block: a loop without a way out of it is what compilers make fast. What stops one of
    // these loops is found by the next.
    constexpr std::size_t kBlock = 32 * kWord;
    for (; at + kBlock <= bytes.size(); at += kBlock)
      if (differs(bytes.subspan(at, kBlock), offset + at)) break;
    for (; at + kWord <= bytes.size(); at += kWord)
      if (differs(bytes.subspan(at, kWord), offset + at)) break;
    for (; at < bytes.size(); ++at)
      if (bytes[at] != byte_at(offset + at)) return offset + at;
    return std::nullopt;
  }

 private:
  static constexpr std::size_t kWord = sizeof(std::uint64_t);
  static constexpr std::uint64_t kStep = 0x9E3779B97F4A7C15ULL;

  std::uint64_t word_at(std::uint64_t offset) const { return first_ + offset / kWord * kStep; }
  std::byte byte_at(std::uint64_t offset) const {
    const auto word = word_at(offset);
    std::byte bytes[kWord];
    std::memcpy(bytes, &word, kWord);
    return bytes[offset % kWord];
  }

  bool differs(std::span<const std::byte> block, std::uint64_t offset) const {
    std::uint64_t difference = 0;
    std::uint64_t expected = word_at(offset);
    for (std::size_t at = 0; at < block.size(); at += kWord, expected += kStep) {
      std::uint64_t word = 0;
      std::memcpy(&word, block.data() + at, kWord);
      difference |= word ^ expected;
    }
    return difference != 0;
  }

  const std::uint64_t first_;
};

}  // namespace mempool::torture
