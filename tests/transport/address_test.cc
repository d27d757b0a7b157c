#include "transport/address.h"

#include <gmock/gmock.h>

#include "support/results.h"

namespace mempool::transport {
namespace {

using test::code;
using test::message;
using test::must;

TEST(Address, ParsesWhatPeopleWrite) {
  struct Case {
    const char* text;
    const char* host;
    int port;
  };
  for (const auto& [text, host, port] :
       {Case{"127.0.0.1:7700", "127.0.0.1", 7700}, Case{"node7:1", "node7", 1},
        Case{"[::1]:65535", "::1", 65535}, Case{"a.b-c.example:0", "a.b-c.example", 0}}) {
    const auto parsed = must(parse_host_port(text));
    EXPECT_EQ(parsed.host, host);
    EXPECT_EQ(parsed.port, port);
    EXPECT_EQ(parsed.to_string(), text);
  }
}

TEST(Address, RefusesWhatIsNone) {
  for (const char* text : {"",           ":",
                           "host",       "host:",
                           ":1",         "host:65536",
                           "host:70000", "host:-1",
                           "host:+1",    "host:1x",
                           "host:x",     "host: 1",
                           "host:1 ",    "host:99999999999999999999",
                           "::1:80",     "[::1:80",
                           "[]:80",      "[:80",
                           "]:80:80",    "host:0x50"}) {
    const auto parsed = parse_host_port(text);
    EXPECT_EQ(code(parsed), Code::kInvalidArgument) << text;
    EXPECT_THAT(message(parsed), ::testing::HasSubstr("HOST:PORT")) << text;
  }
}

TEST(Address, KnowsLoopback) {
  for (const char* host : {"127.0.0.1", "127.5.6.7", "localhost", "::1"})
    EXPECT_TRUE(is_loopback(host)) << host;
  for (const char* host : {"0.0.0.0", "::", "10.0.0.1", "192.168.1.1", "128.0.0.1", "node7", "",
                           "127.0.0.1.example", "localhost.example"})
    EXPECT_FALSE(is_loopback(host)) << host;
}

TEST(Address, ResolvesNumbersAndNames) {
  for (const char* number : {"127.0.0.1", "127.5.6.7", "::1", "10.0.0.1", "0.0.0.0"})
    EXPECT_EQ(must(resolve(number)), number);
  EXPECT_TRUE(is_loopback(must(resolve("localhost"))));
  EXPECT_EQ(must(resolve("127.1")), "127.0.0.1");
  EXPECT_TRUE(is_unspecified(must(resolve("0"))));
  EXPECT_EQ(code(resolve("")), Code::kInvalidArgument);
  const auto unknown = resolve("no-such-host.invalid");
  EXPECT_THAT(code(unknown), ::testing::AnyOf(Code::kInvalidArgument, Code::kUnavailable));
  EXPECT_THAT(message(unknown), ::testing::HasSubstr("no-such-host.invalid"));
}

TEST(Address, WarnsOfNamesThatAreLoopbackHereAndElsewhereAnother) {
  EXPECT_THAT(loopback_name_warning("node7", "127.0.1.1"),
              ::testing::AllOf(::testing::HasSubstr("node7 is 127.0.1.1"),
                               ::testing::HasSubstr("/etc/hosts")));
  EXPECT_NE(loopback_name_warning("node7", "::1"), "");
  for (const char* host : {"localhost", "node7.localhost", "127.0.0.1", "127.1", "127.0.1.1"})
    EXPECT_EQ(loopback_name_warning(host, "127.0.1.1"), "") << host;
  EXPECT_EQ(loopback_name_warning("::1", "::1"), "");
  EXPECT_EQ(loopback_name_warning("node7", "10.0.0.1"), "");
}

TEST(Address, OwnOnesAreThoseOfThisMachine) {
  EXPECT_THAT(own_addresses(),
              ::testing::Contains(::testing::Field(&OwnAddress::address, "127.0.0.1")));
  EXPECT_TRUE(is_own("127.0.0.1") && is_own("127.0.1.1"));
  EXPECT_FALSE(is_own("203.0.113.1"));
  const auto outside = outside_address();
  EXPECT_TRUE(outside.empty() || (is_own(outside) && !is_loopback(outside)));
}

}  // namespace
}  // namespace mempool::transport
