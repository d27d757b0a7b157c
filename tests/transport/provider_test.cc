#include "transport/provider.h"

#include <algorithm>

#include <gmock/gmock.h>

#include "support/results.h"

namespace mempool::transport {
namespace {

using test::code;
using test::message;
using test::must;
using ::testing::Contains;
using ::testing::HasSubstr;

TEST(Providers, SocketsAndATcpProviderAreHere) {
  const auto present = present_providers();
  EXPECT_THAT(present, Contains("sockets"));
  EXPECT_THAT(present, ::testing::AnyOf(Contains("net"), Contains("tcp")));
}

TEST(Providers, BestFirstAndSocketsLastOfTheAutomaticOnes) {
  const auto chosen = must(choose_providers({}, false));
  ASSERT_FALSE(chosen.empty());
  EXPECT_EQ(chosen.back()->name, "sockets");
  EXPECT_TRUE(std::ranges::all_of(chosen, &Provider::automatic));
  EXPECT_TRUE(std::ranges::is_sorted(chosen));  // in the table's order
}

TEST(Providers, AskedForByNameInTheTablesOrder) {
  const auto chosen = must(choose_providers({"sockets", present_providers().front()}, false));
  ASSERT_EQ(chosen.size(), 2U);
  EXPECT_EQ(chosen.back()->name, "sockets");
  EXPECT_EQ(must(choose_providers({"sockets"}, false)).size(), 1U);
}

TEST(Providers, UnknownOnesAreRefusedWithThoseThatArePresent) {
  for (const auto& asked :
       {std::vector<std::string>{"telepathy"}, {"sockets", "telepathy"}, {""}}) {
    const auto refused = choose_providers(asked, false);
    EXPECT_EQ(code(refused), Code::kNoProvider);
    EXPECT_THAT(message(refused), HasSubstr("present here: "));
    EXPECT_THAT(message(refused), HasSubstr("sockets"));
  }
}

TEST(Providers, RequiredRdmaIsNeverDowngraded) {
  const auto refused = choose_providers({"sockets"}, true);
  EXPECT_EQ(code(refused), Code::kNoProvider);
  EXPECT_THAT(message(refused), HasSubstr("RDMA is required"));
}

TEST(Providers, FoundByName) {
  for (const auto& provider : known_providers()) EXPECT_EQ(find_provider(provider.name), &provider);
  EXPECT_EQ(find_provider("telepathy"), nullptr);
  EXPECT_EQ(find_provider(""), nullptr);
}

}  // namespace
}  // namespace mempool::transport
