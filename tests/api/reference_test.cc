// DRef and FileRef as values and as text.
#include <string>
#include <unordered_map>
#include <unordered_set>

#include <gtest/gtest.h>

#include <mempool/ref.h>

#include "support/results.h"

namespace mempool::test {
namespace {

DRef some_ref() {
  return {{11, 22, 33, 44}, 1234567, {0, 4096, 0xABCDEF}};
}

FileRef some_file() {
  return {"/tmp/a b/c.blob", 4096, 77, {1, 2, 3, 4}};
}

TEST(Reference, C5_CopiesAreEqualAndInterchangeable) {
  const DRef ref = some_ref();
  const DRef copy = ref;
  EXPECT_EQ(copy, ref);
  EXPECT_EQ(std::hash<DRef>{}(copy), std::hash<DRef>{}(ref));
  std::unordered_map<DRef, int> map{{ref, 7}};
  EXPECT_EQ(map.at(copy), 7);

  // Length and hint take no part in the identity; each part of the identity does.
  DRef elsewhere = ref;
  elsewhere.hint = {3, 5, 9};
  EXPECT_EQ(elsewhere, ref);
  EXPECT_EQ(map.count(elsewhere), 1U);
  for (auto field : {&BlobId::cluster, &BlobId::node, &BlobId::incarnation, &BlobId::object}) {
    DRef other = ref;
    other.id.*field += 1;
    EXPECT_NE(other, ref);
  }
}

TEST(Reference, C5_TextAndBytesParseBack) {
  const DRef ref = some_ref();
  for (const DRef& back : {must(DRef::parse(ref.to_string())), must(DRef::decode(ref.encode()))}) {
    EXPECT_EQ(back, ref);
    EXPECT_EQ(back.length, ref.length);
    EXPECT_EQ(back.hint.region, ref.hint.region);
    EXPECT_EQ(back.hint.offset, ref.hint.offset);
    EXPECT_EQ(back.hint.generation, ref.hint.generation);
  }
  EXPECT_EQ(must(FileRef::parse(some_file().to_string())), some_file());
}

/// Every prefix, and every character replaced by each of a few others.
template <class Ref>
void expect_refused_when_damaged(const std::string& text) {
  const auto refused = [](const std::string& damaged) {
    const auto parsed = Ref::parse(damaged);
    return !parsed &&
           (parsed.error().code == Code::kInvalidArgument ||
            parsed.error().code == Code::kVersionMismatch) &&
           !parsed.error().message.empty();
  };
  for (std::size_t size = 0; size < text.size(); ++size)
    EXPECT_TRUE(refused(text.substr(0, size))) << "cut to " << size;
  for (std::size_t at = 0; at < text.size(); ++at) {
    for (char put : {'0', '1', '9', 'a', 'f', 'g', 'A', ' ', '\n', '\0', '\xFF'}) {
      std::string damaged = text;
      if (damaged[at] == put) continue;
      damaged[at] = put;
      EXPECT_TRUE(refused(damaged)) << "position " << at << " became " << int{put};
    }
  }
  EXPECT_TRUE(refused(text + "0"));
  EXPECT_TRUE(refused(" " + text));
  EXPECT_TRUE(refused(text + "\n"));
}

TEST(Reference, MistypedDRefIsRefusedAtEveryPosition) {
  expect_refused_when_damaged<DRef>(some_ref().to_string());
}

TEST(Reference, MistypedFileRefIsRefusedAtEveryPosition) {
  expect_refused_when_damaged<FileRef>(some_file().to_string());
}

TEST(Reference, FlippedBitsOfTheEncodingAreRefused) {
  const auto good = some_ref().encode();
  for (std::size_t bit = 0; bit < 8 * good.size(); ++bit) {
    auto damaged = good;
    damaged[bit / 8] ^= std::byte{1} << (bit % 8);
    EXPECT_FALSE(DRef::decode(damaged)) << "bit " << bit;
  }
  EXPECT_EQ(code(DRef::decode(std::span(good).first(64))), Code::kInvalidArgument);
  EXPECT_EQ(code(DRef::decode({})), Code::kInvalidArgument);
}

TEST(Reference, AnotherVersionSaysSo) {
  auto newer = some_ref().encode();
  newer[0] = std::byte{2};
  const auto decoded = DRef::decode(newer);
  EXPECT_EQ(code(decoded), Code::kVersionMismatch);
  EXPECT_NE(message(decoded).find("version 2"), std::string::npos) << message(decoded);
}

TEST(Reference, HashesOfNeighboursDiffer) {
  std::unordered_set<std::size_t> hashes;
  for (std::uint64_t object = 1; object <= 10'000; ++object)
    hashes.insert(std::hash<BlobId>{}({1, 2, 3, object}));
  EXPECT_EQ(hashes.size(), 10'000U);
}

}  // namespace
}  // namespace mempool::test
