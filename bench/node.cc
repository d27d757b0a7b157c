#include "node.h"

#include <algorithm>
#include <cstdlib>
#include <span>
#include <sstream>

#include "support.h"

namespace mempool::bench {

std::string host() {
  const char* told = std::getenv("MEMPOOL_BENCH_HOST");
  return told ? told : "127.0.0.1";
}

Child start_node(const std::filesystem::path& spill_directory, std::vector<std::string> more) {
  std::vector<std::string> command{
      MEMPOOL_DAEMON, "--listen", host() + ":0", "--insecure",
      "--log-level",  "error",    "--spill-dir", spill_directory.native()};
  command.insert(command.end(), more.begin(), more.end());
  return Child(command);
}

Pool client_of(const Child& node, const std::string& path) {
  ClusterOptions options;
  options.providers = {path};
  return get_or_stop(Pool::connect(node.word(1), options));
}

std::vector<std::string> providers_of(const Child& node) {
  std::vector<std::string> names;
  std::istringstream present(node.value("providers"));
  for (std::string name; std::getline(present, name, ',');) names.push_back(name);
  return names;
}

std::string best_tcp_provider(const Child& node) {
  for (const auto& name : providers_of(node))
    if (name != "verbs") return name;
  stop("the node has no provider on TCP");
}

std::vector<DRef> set_blobs(Pool& pool, std::size_t count, std::uint64_t bytes) {
  const auto payload = make_bytes(bytes);
  const std::vector<std::span<const std::byte>> batch(std::min<std::size_t>(count, 4096), payload);
  std::vector<DRef> refs;
  refs.reserve(count);
  while (refs.size() < count) {
    const auto some = std::span(batch).first(std::min(batch.size(), count - refs.size()));
    for (auto& ref : pool.poolset_all(some)) refs.push_back(get_or_stop(std::move(ref)));
  }
  return refs;
}

}  // namespace mempool::bench
