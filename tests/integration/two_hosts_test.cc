// A client here and nodes on another host, over RDMA and a link that may lose packets.
// CONTRIBUTING.md says how it is run; second_host is the other end.
#include <atomic>
#include <cstdlib>
#include <fstream>
#include <thread>

#include "cluster_fixture.h"

namespace mempool::test {
namespace {

/// The hosts are emulated, and each lost packet may cost seconds.
constexpr auto kLongPatience = 4 * kPatience;
constexpr std::uint32_t kTimeout_ms = 120'000;

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

/// A mempoold on the other host.
class FarNode {
 public:
  explicit FarNode(const Words& more = {})
      : number_(std::to_string(::getpid()) + "-" + std::to_string(count_++)) {
    Words words{"--listen",
                environment("MEMPOOL_HOST_2") + ":0",
                "--insecure",
                "--spill-dir",
                "/tmp/spill." + number_,
                "--max-memsize",
                "256MiB"};
    words.insert(words.end(), more.begin(), more.end());
    ask("start", words);
    std::string line;
    const auto ready = [&] {
      std::ifstream in(shared() / ("node." + number_));
      return std::getline(in, line) && !in.eof() && line.starts_with("ready ");
    };
    if (!eventually(ready, kLongPatience))
      throw std::runtime_error("no node on the other host: " + line);
    address_ = line.substr(6, line.find(' ', 6) - 6);
  }
  ~FarNode() { kill9(); }
  FarNode(const FarNode&) = delete;
  FarNode& operator=(const FarNode&) = delete;

  const std::string& address() const { return address_; }

  void kill9() {
    if (std::exchange(ended_, true)) return;
    ask("kill", {});
    EXPECT_TRUE(
        eventually([&] { return fs::exists(shared() / ("killed." + number_)); }, kLongPatience));
  }

 private:
  static fs::path shared() { return environment("MEMPOOL_SHARED"); }

  /// Whole or not at all.
  void ask(const std::string& what, const Words& words) const {
    const auto unfinished = shared() / ("asking." + number_);
    std::ofstream out(unfinished);
    for (const auto& word : words) out << word << '\n';
    out.close();
    fs::rename(unfinished, shared() / (what + "." + number_));
  }

  static inline int count_ = 0;
  const std::string number_;
  std::string address_;
  bool ended_ = false;
};

class TwoHostsTest : public ClusterTest {
 protected:
  void SetUp() override {
    if (environment("MEMPOOL_HOST_2").empty() || environment("MEMPOOL_SHARED").empty())
      GTEST_SKIP() << "SKIPPED: there is no second host; ci/soft-roce --two-hosts has one";
  }

  static Pool client_of(const FarNode& node, std::uint32_t timeout_ms = kTimeout_ms) {
    ClusterOptions options;
    options.require_rdma = true;
    options.timeout_ms = timeout_ms;
    return must(Pool::connect(node.address(), options));
  }
};

TEST_F(TwoHostsTest, ReadsOfAnySizeAreRightAndByRdma) {
  FarNode node;
  auto client = client_of(node);
  std::uint64_t gets = 0;
  for (std::uint64_t size :
       std::initializer_list<std::uint64_t>{0, 1, 4096, 65'537, kMiB, 4 * kMiB + 3}) {
    const auto ref = set(client, size + 1, size);
    EXPECT_TRUE(holds(client, ref, size + 1)) << size << " bytes";
    EXPECT_EQ(gets_by(client, "rdma (verbs)"), ++gets);
    if (size < 3) continue;
    Bytes part(size / 3);
    must(client.poolread(ref, size / 3, part));
    const auto whole = pattern(size, size + 1);
    EXPECT_TRUE(same(part, std::span(whole).subspan(size / 3, part.size())));
    EXPECT_EQ(gets_by(client, "rdma (verbs)"), ++gets);
  }
  EXPECT_THAT(client.local_stats().gets_by_path, ::testing::SizeIs(1));
}

TEST_F(TwoHostsTest, OwnerKilledInTheMiddleOfARead) {
  FarNode node;
  auto client = client_of(node, 20'000);
  const auto ref = set(client, 1, 32 * kMiB);
  std::atomic<int> reads{0};
  std::atomic<Code> ended{Code::kOk};
  std::thread reader([&] {
    Bytes out(kMiB);
    const auto right = pattern(ref.length, 1);
    for (std::uint64_t at = 0; ended == Code::kOk; at = (at + kMiB) % ref.length) {
      const auto read = client.poolread(ref, at, out);
      if (read && !same(out, std::span(right).subspan(at, kMiB))) {
        ADD_FAILURE() << "other bytes at " << at;
        break;
      }
      ended = code(read);
      ++reads;
    }
  });
  EXPECT_TRUE(eventually([&] { return reads > 1; }, kLongPatience));
  node.kill9();
  const auto begin = Clock::now();
  reader.join();
  EXPECT_TRUE(ended == Code::kUnavailable || ended == Code::kTimeout) << to_string(ended);
  EXPECT_LT(Clock::now() - begin, 50s) << "two deadlines and some patience";

  // The same process goes on with another.
  FarNode next;
  auto again = client_of(next);
  EXPECT_TRUE(holds(again, set(again, 2), 2));
  EXPECT_EQ(gets_by(again, "rdma (verbs)"), 1U);
}

TEST_F(TwoHostsTest, CutLinkIsNoticedInTimeAndMendedIsUsedAgain) {
  FarNode node;
  ClusterOptions options;  // by whatever path
  options.timeout_ms = 30'000;
  auto client = must(Pool::connect(node.address(), options));
  const auto ref = set(client, 1);
  EXPECT_TRUE(holds(client, ref, 1));
  const auto link = [](const char* state) {
    const auto ran = run({"/bin/ip", "link", "set", "eth0", state});
    ASSERT_EQ(ran.status, 0) << ran.err;
  };
  link("down");
  const auto begin = Clock::now();
  const auto lost = code(client.poolget(ref));
  EXPECT_TRUE(lost == Code::kUnavailable || lost == Code::kTimeout) << to_string(lost);
  EXPECT_LT(Clock::now() - begin, 70s) << "two deadlines and some patience";
  link("up");
  Result<View> view = fail(Code::kOk, "");
  EXPECT_TRUE(eventually(
      [&] {
        view = client.poolget(ref);
        return view.has_value();
      },
      kLongPatience))
      << message(view);
  EXPECT_TRUE(view && same(view->bytes(), pattern(kMiB, 1)));
}

}  // namespace
}  // namespace mempool::test
