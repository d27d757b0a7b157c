// The decision whether bytes are the blob's: every field, both rules, and the edge of the window.
#include "transport/verification.h"

#include <gtest/gtest.h>

namespace mempool::transport {
namespace {

using namespace std::chrono_literals;

constexpr ExpectedBlob kBlob{11, 22, 33};
constexpr auto kWindow = 250ms;

BlobHeader header_of(const ExpectedBlob& blob) {
  BlobHeader header{};
  header.magic = BlobHeader::kMagic;
  header.object = blob.object;
  header.generation = blob.generation;
  header.length = blob.length;
  return header;
}

/// A read in time, one that was slow, and a header that was read last.
const Evidence kEvidence[] = {Evidence::of_one_read(1ms, kWindow),
                              Evidence::of_one_read(1h, kWindow), Evidence::of_header_read_last()};

TEST(Verification, EveryWordOfTheHeaderCounts) {
  std::uint64_t BlobHeader::*const words[] = {&BlobHeader::magic, &BlobHeader::object,
                                              &BlobHeader::generation, &BlobHeader::length};
  for (const auto& evidence : kEvidence)
    for (const auto word : words)
      for (int bit = 0; bit < 64; ++bit) {
        auto header = header_of(kBlob);
        header.*word ^= std::uint64_t{1} << bit;
        EXPECT_EQ(verify(header, kBlob, evidence), Verdict::kRejected) << bit;
      }
}

TEST(Verification, AMarkedDraftedOrEmptyPlaceIsRejected) {
  for (const auto& evidence : kEvidence) {
    auto dead = header_of(kBlob);
    dead.generation = 0;
    EXPECT_EQ(verify(dead, kBlob, evidence), Verdict::kRejected);
    auto draft = header_of(kBlob);
    draft.magic = 0;
    EXPECT_EQ(verify(draft, kBlob, evidence), Verdict::kRejected);
    EXPECT_EQ(verify(BlobHeader{}, kBlob, evidence), Verdict::kRejected);
    // Not even for whoever expects nothing.
    EXPECT_EQ(verify(BlobHeader{}, {}, evidence), Verdict::kRejected);
  }
}

TEST(Verification, WhatLaterVersionsMayUseDoesNotCount) {
  auto header = header_of(kBlob);
  header.flags = ~0ULL;
  for (auto& word : header.reserved) word = ~0ULL;
  EXPECT_EQ(verify(header, kBlob, Evidence::of_one_read(1ms, kWindow)), Verdict::kAccepted);
  EXPECT_EQ(verify(header, kBlob, Evidence::of_header_read_last()), Verdict::kAccepted);
}

TEST(Verification, OneReadCountsWhileItWasShorterThanTheWindow) {
  const auto after = [](std::chrono::nanoseconds took, std::chrono::nanoseconds window = kWindow) {
    return verify(header_of(kBlob), kBlob, Evidence::of_one_read(took, window));
  };
  EXPECT_EQ(after(0ns), Verdict::kAccepted);
  EXPECT_EQ(after(kWindow - 1ns), Verdict::kAccepted);
  EXPECT_EQ(after(kWindow), Verdict::kReadHeaderAgain);
  EXPECT_EQ(after(kWindow + 1ns), Verdict::kReadHeaderAgain);
  EXPECT_EQ(after(24h), Verdict::kReadHeaderAgain);
  // No window: rule (ii) always.
  EXPECT_EQ(after(0ns, 0ns), Verdict::kReadHeaderAgain);
  EXPECT_EQ(after(1ns, 0ns), Verdict::kReadHeaderAgain);
}

TEST(Verification, AHeaderThatWasReadLastNeedsNoClock) {
  EXPECT_EQ(verify(header_of(kBlob), kBlob, Evidence::of_header_read_last()), Verdict::kAccepted);
}

TEST(Verification, TheClockGoesOn) {
  const auto before = boot_time();
  EXPECT_GT(before, 0ns);
  EXPECT_GE(boot_time(), before);
}

}  // namespace
}  // namespace mempool::transport
