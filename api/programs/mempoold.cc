// mempoold: one node of a cluster, until SIGTERM or SIGINT.
#include <csignal>
#include <cstdio>
#include <string>

#include <CLI/CLI.hpp>

#include <mempool/mempool.h>

#include "api/programs/command_line.h"
#include "transport/log.h"

namespace {

/// Threads inherit the mask, so that only sigwait() below sees the end.
sigset_t block_end_signals() {
  sigset_t ends;
  sigemptyset(&ends);
  sigaddset(&ends, SIGTERM);
  sigaddset(&ends, SIGINT);
  pthread_sigmask(SIG_BLOCK, &ends, nullptr);
  // A file-size limit is an error of the write, not the end of the node.
  std::signal(SIGXFSZ, SIG_IGN);
  std::signal(SIGPIPE, SIG_IGN);
  return ends;
}

void announce(const mempool::NodeInfo& self) {
  std::string providers;
  for (const auto& name : self.providers) providers += (providers.empty() ? "" : ",") + name;
  std::printf("ready %s node=%s providers=%s\n", self.address.c_str(),
              mempool::programs::node_text(self.id).c_str(), providers.c_str());
  std::fflush(stdout);
}

}  // namespace

int main(int argc, char** argv) {
  using namespace mempool;
  PoolOptions options;
  std::string policy = "lru";
  std::string level = "info";
  CLI::App app{
      "A node of a MemPool cluster: stores blobs, spills the cold ones, serves them to all."};
  app.name("mempoold");
  app.option_defaults()->always_capture_default();
  app.add_option("--listen", options.listen, "where to serve; port 0 picks one")
      ->type_name("HOST:PORT")
      ->required();
  app.add_option("--join", options.join, "another node of the cluster; it may start later")
      ->type_name("HOST:PORT");
  programs::add_size(app, "--max-memsize", options.max_memsize, "limit of payload bytes in memory");
  programs::add_size(app, "--max-disksize", options.max_disksize,
                     "limit of spill files on disk; 0: what the disk has");
  app.add_option("--spill-dir", options.spill_dir, "where cold blobs go")->type_name("DIR");
  app.add_option("--policy", policy, "which blobs go first: the least or the most recently used")
      ->check(CLI::IsMember({"lru", "mru"}));
  programs::add_cluster_options(app, options);
  app.add_flag("--insecure", options.insecure,
               "serve on other than loopback addresses, without authentication");
  app.add_option("--log-level", level, "what goes to standard error")
      ->check(CLI::IsMember({"debug", "info", "warn", "error", "off"}));
  if (const auto status = programs::parse(app, argc, argv)) return *status;
  // To the library that would be a pool without a network.
  if (options.listen.empty()) {
    std::fputs("mempoold: --listen is empty; say --listen HOST:PORT, port 0 picks one\n", stderr);
    return 2;
  }

  options.policy = policy == "mru" ? Policy::kMru : Policy::kLru;
  transport::log().set_level(spdlog::level::from_str(level));
  const auto ends = block_end_signals();
  auto pool = Pool::open(options);
  if (!pool) return programs::failed("mempoold", pool.error());
  announce(pool->self());
  int signal = 0;
  sigwait(&ends, &signal);
  return 0;
}
