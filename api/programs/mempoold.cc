// mempoold: one node of a cluster, until SIGTERM or SIGINT.
#include <csignal>
#include <string>

#include <CLI/CLI.hpp>

#include <mempool/mempool.h>

#include "api/programs/command_line.h"
#include "api/programs/settings.h"
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
  const auto said = mempool::programs::print("ready " + mempool::programs::address_text(self) +
                                             " node=" + mempool::programs::node_text(self.id) +
                                             " providers=" + providers + "\n");
  // It serves all the same.
  if (!said)
    mempool::transport::log().warn("nobody is told that it serves: {}", said.error().message);
}

}  // namespace

int main(int argc, char** argv) {
  using namespace mempool;
  programs::Settings settings;
  programs::Configuration configuration;
  settings.declare(configuration);
  CLI::App app{
      "A node of a MemPool cluster: stores blobs, spills the cold ones, serves them to all."};
  app.name("mempoold");
  programs::offer_version(app);
  configuration.offer(app, programs::kNodeSettings);
  configuration.offer(app, programs::kClusterSettings);
  configuration.offer_file(app);
  bool print = false;
  app.add_flag("--print-config", print,
               "print the settings in use as such a file, each with its origin, and end");
  if (const auto status = programs::parse(app, configuration, argc, argv)) return *status;
  if (print) return programs::print_configuration("mempoold", configuration);
  // To the library that would be a pool without a network.
  if (settings.pool.listen.empty() && configuration.is_default("listen"))
    return programs::misused("mempoold",
                             "where to serve? say --listen HOST:PORT, set MEMPOOL_LISTEN, or have "
                             "listen in the file of --config; see --help");
  if (settings.pool.listen.empty())
    return programs::misused("mempoold",
                             "--listen is empty; say --listen HOST:PORT, port 0 picks one");

  transport::log().set_level(settings.log_level);
  const auto ends = block_end_signals();
  auto pool = Pool::open(settings.pool);
  if (!pool) return programs::not_begun("mempoold", configuration, pool.error());
  announce(pool->self());
  int signal = 0;
  sigwait(&ends, &signal);
  return 0;
}
