#include "transport/provider.h"

#include <algorithm>
#include <cstdlib>

#include <gmock/gmock.h>
#include <rdma/fabric.h>

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
  const auto paths = must(choose_paths({}, false));
  EXPECT_TRUE(paths.shared_memory && paths.mapped_files);
  const auto& chosen = paths.providers;
  ASSERT_FALSE(chosen.empty());
  EXPECT_EQ(chosen.back()->name, "sockets");
  EXPECT_TRUE(std::ranges::all_of(chosen, &Provider::automatic));
  EXPECT_TRUE(std::ranges::is_sorted(chosen));  // in the table's order
}

TEST(Providers, AskedForByNameInTheTablesOrder) {
  const auto paths = must(choose_paths({"sockets", present_providers().front()}, false));
  EXPECT_FALSE(paths.shared_memory || paths.mapped_files);
  const auto& chosen = paths.providers;
  ASSERT_EQ(chosen.size(), 2U);
  EXPECT_EQ(chosen.back()->name, "sockets");
  EXPECT_EQ(must(choose_paths({"sockets"}, false)).providers.size(), 1U);
}

TEST(Providers, OtherPathsByName) {
  const auto shared = must(choose_paths({"shared"}, false));
  EXPECT_TRUE(shared.shared_memory && !shared.mapped_files && shared.providers.empty());
  const auto files = must(choose_paths({"files", "sockets"}, false));
  EXPECT_TRUE(!files.shared_memory && files.mapped_files && files.providers.size() == 1);
  const auto push = must(choose_paths({"push"}, false));
  EXPECT_TRUE(!push.shared_memory && !push.mapped_files && push.providers.empty());
}

TEST(Providers, UnknownOnesAreRefusedWithThoseThatArePresent) {
  for (const auto& asked :
       {std::vector<std::string>{"telepathy"}, {"sockets", "telepathy"}, {""}}) {
    const auto refused = choose_paths(asked, false);
    EXPECT_EQ(code(refused), Code::kNoProvider);
    EXPECT_THAT(message(refused), HasSubstr("present here: "));
    EXPECT_THAT(message(refused), HasSubstr("sockets"));
  }
}

TEST(Providers, RequiredRdmaIsNeverDowngraded) {
  const auto refused = choose_paths({"sockets"}, true);
  EXPECT_EQ(code(refused), Code::kNoProvider);
  EXPECT_THAT(message(refused), HasSubstr("RDMA is required"));
}

/// A variable that libfabric does not know would be set in vain.
TEST(Providers, EverySettingIsOneThatLibfabricHas) {
  ASSERT_FALSE(present_providers().empty());  // libfabric has started
  fi_param* known = nullptr;
  int count = 0;
  ASSERT_EQ(fi_getparams(&known, &count), 0);
  std::vector<std::string> names;
  for (int i = 0; i < count; ++i) names.emplace_back(known[i].name);
  fi_freeparams(known);
  for (const auto& setting : provider_settings()) {
    EXPECT_THAT(names, Contains(setting.variable));
    EXPECT_NE(std::getenv(setting.variable), nullptr);  // ours, or the user's
  }
}

TEST(Providers, FoundByName) {
  for (const auto& provider : known_providers()) EXPECT_EQ(find_provider(provider.name), &provider);
  EXPECT_EQ(find_provider("telepathy"), nullptr);
  EXPECT_EQ(find_provider(""), nullptr);
}

}  // namespace
}  // namespace mempool::transport
