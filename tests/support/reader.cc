// mempool_test_reader: a client in a process of its own, which a test may stop, kill, or start in
// namespaces of its own.
//
//   mempool_test_reader once|hold PATHS NODE SEED REF [SEED REF]...
//
// PATHS as --provider takes them, with commas, or "auto". It gets a view of each blob, prints the
// path that each came by and whether the bytes are those of the seed, and then "done". With "hold"
// it keeps the views: SIGUSR1 makes it look at them again and print "right" or "wrong", SIGTERM
// ends it.
#include <csignal>
#include <cstdio>
#include <sstream>
#include <string>
#include <vector>

#include <mempool/mempool.h>

#include "support/bytes.h"

namespace {

using namespace mempool;

struct Shown {
  std::uint64_t seed;
  View view;
  bool right() const { return test::same(view.bytes(), test::pattern(view.size(), seed)); }
};

void print(const std::string& line) {
  std::printf("%s\n", line.c_str());
  std::fflush(stdout);
}

int failed(const Error& error) {
  print("failed: " + error.to_string());
  return 1;
}

std::vector<std::string> paths(const std::string& text) {
  std::vector<std::string> names;
  std::istringstream in(text);
  for (std::string name; std::getline(in, name, ',');) names.push_back(name);
  return names;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 6 || argc % 2 != 0) return 2;
  // Blocked before there are threads, so that only sigwait() sees them.
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGUSR1);
  sigaddset(&signals, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);

  ClusterOptions options;
  options.providers = paths(argv[2]);
  auto pool = Pool::connect(argv[3], options);
  if (!pool) return failed(pool.error());
  std::vector<Shown> shown;
  for (int i = 4; i + 1 < argc; i += 2) {
    const auto ref = DRef::parse(argv[i + 1]);
    if (!ref) return failed(ref.error());
    auto view = pool->poolget(*ref);
    if (!view) return failed(view.error());
    shown.push_back({std::stoull(argv[i]), std::move(*view)});
    print(std::string(to_string(shown.back().view.path())) +
          (shown.back().right() ? " right" : " wrong"));
  }
  print("done");
  const bool hold = std::string(argv[1]) == "hold";
  for (int signal = 0; hold && sigwait(&signals, &signal) == 0 && signal == SIGUSR1;) {
    bool right = true;
    for (const auto& one : shown) right = right && one.right();
    print(right ? "right" : "wrong");
  }
  return 0;
}
