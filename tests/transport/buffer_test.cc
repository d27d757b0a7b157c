#include "transport/buffer.h"

#include <cstring>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "support/results.h"

namespace mempool::transport {
namespace {

using test::code;
using test::must;

TEST(BufferPool, GivesWhatWasAskedForOnPages) {
  BufferPool pool;
  for (std::size_t bytes :
       {std::size_t{0}, std::size_t{1}, std::size_t{4096}, std::size_t{4097}, std::size_t{1} << 20,
        BufferPool::kMaxPooledBytes, BufferPool::kMaxPooledBytes + 1}) {
    const auto buffer = must(pool.take(bytes));
    EXPECT_GE(buffer.capacity_bytes(), bytes);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(buffer.data()) % 4096, 0U);
    std::memset(buffer.data(), 1, bytes);
  }
}

TEST(BufferPool, RecyclesOnlyWhatNobodyHolds) {
  BufferPool pool;
  auto first = must(pool.take(10'000));
  const auto* block = first.block();
  const Buffer held = first;
  first = Buffer();
  EXPECT_NE(must(pool.take(10'000)).block(), block) << "somebody still holds it";
  auto moved = Buffer(held);
  {
    const Buffer last = std::move(moved);
    EXPECT_EQ(last.block(), block);
  }
  EXPECT_NE(must(pool.take(10'000)).block(), block);
}

TEST(BufferPool, WarmTakeGivesTheSameBlock) {
  BufferPool pool;
  const auto* block = must(pool.take(10'000)).block();
  EXPECT_EQ(must(pool.take(9'000)).block(), block);
  pool.trim();
  must(pool.take(1));
}

TEST(BufferPool, SizesThatNobodyAsksForMakeRoom) {
  BufferPool pool(64 * 1024);
  {
    std::vector<Buffer> small;
    for (int i = 0; i < 16; ++i) small.push_back(must(pool.take(4096)));
  }
  BufferBlock* block = must(pool.take(32 * 1024)).block();
  EXPECT_EQ(must(pool.take(32 * 1024)).block(), block) << "the list is full of small ones";
}

std::size_t mappings() {
  std::ifstream maps("/proc/self/maps");
  std::size_t lines = 0;
  for (std::string line; std::getline(maps, line);) ++lines;
  return lines;
}

/// Each hole between others that are held would be one more mapping of the process's.
TEST(BufferPool, WhatIsDroppedLeavesNoHoles) {
  constexpr std::size_t kBuffers = 20'000;
  BufferPool pool(64 * 1024);
  const auto before = mappings();
  std::vector<Buffer> held;
  for (std::size_t i = 0; i < kBuffers; ++i) {
    held.push_back(must(pool.take(8192)));
    *held.back().data() = std::byte{1};
  }
  for (std::size_t i = 0; i < kBuffers; i += 2) held[i] = Buffer();
  EXPECT_LT(mappings(), before + 1000);
  // Their memory is gone, and their places are used again.
  std::vector<Buffer> others;
  for (std::size_t i = 0; i < kBuffers / 4; ++i) others.push_back(must(pool.take(8192)));
  EXPECT_EQ(std::to_integer<int>(*others.back().data()), 0);
  EXPECT_LT(mappings(), before + 1000);
}

TEST(BufferPool, RefusesWhatTheSystemCannotGive) {
  BufferPool pool;
  for (std::size_t bytes :
       {std::size_t{1} << 50, ~std::size_t{0}, ~std::size_t{0} - 4095, ~std::size_t{0} - 8191})
    EXPECT_NE(code(pool.take(bytes)), Code::kOk) << bytes;
}

TEST(BufferPool, ManyThreadsNeverShareABlock) {
  BufferPool pool(1 << 20);
  std::vector<std::thread> threads;
  for (unsigned char t = 0; t < 4; ++t)
    threads.emplace_back([&pool, t] {
      for (int i = 0; i < 2000; ++i) {
        const auto buffer = must(pool.take(static_cast<std::size_t>(1 + i % 20'000)));
        std::memset(buffer.data(), t, 64);
        const Buffer second = buffer;
        for (int at = 0; at < 64; ++at) ASSERT_EQ(std::to_integer<int>(second.data()[at]), t);
      }
    });
  for (auto& thread : threads) thread.join();
}

}  // namespace
}  // namespace mempool::transport
