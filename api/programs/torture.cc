// mempool-torture: hunts for a read that is accepted with wrong bytes.
//
// Exit status: 0 nothing was wrong, 1 something was (or it could not begin), 2 wrong usage, 3 a
// path that was asked for is not present on this machine, and nothing was tried.
#include <csignal>
#include <cstring>
#include <filesystem>
#include <random>

#include <CLI/CLI.hpp>
#include <unistd.h>

#include "api/programs/command_line.h"
#include "api/programs/configuration.h"
#include "api/programs/settings.h"
#include "api/programs/torture_report.h"
#include "api/programs/torture_roles.h"
#include "api/programs/torture_run.h"
#include "transport/address.h"
#include "transport/log.h"
#include "transport/provider.h"

namespace {

using namespace mempool;
using torture::Options;

constexpr const char* kProgram = "mempool-torture";
constexpr int kPathIsAbsent = 3;

/// The part of a process that this program started itself.
struct Role {
  std::string name;
  std::uint32_t index = 0;
  std::uint32_t life = 0;
  int board = -1;
};

/// All that are present and can be used at this host's address.
std::vector<std::string> all_paths(const std::string& host) {
  const bool loopback = transport::is_loopback(host);
  std::vector<std::string> paths{std::string(transport::kSharedMemoryName),
                                 std::string(transport::kMappedFilesName)};
  for (const auto& name : transport::present_providers()) {
    const auto* provider = transport::find_provider(name);
    if (provider->automatic && (provider->loopback || !loopback)) paths.push_back(name);
  }
  paths.emplace_back(transport::kPushName);
  return paths;
}

void declare(programs::Configuration& to, Options& options) {
  auto& plan = options.plan;
  to.number("seconds", options.seconds, 1, "S", "how long, on each path");
  to.names("path", options.paths, programs::path_names(), "NAME[,NAME]",
           "the ways to read: shared, files, a provider's name (verbs, net, tcp, sockets, shm), "
           "push; default: all that are present, one after the other, but for shm, and for verbs "
           "while --host is loopback");
  to.number("seed", plan.seed, 0, "N", "of all that is left to chance; default: a random one");
  to.text("host", options.host, "IPV4",
          "the address that nodes serve at; verbs needs its device's");
  to.number("owners", plan.owners, 1, "N", "nodes, each with a process that sets and deletes");
  to.number("readers", plan.readers, 1, "N", "processes that read");
  to.number("threads", plan.threads, 1, "N", "of each reader");
  to.size("smallest", plan.smallest, "the smallest blobs");
  to.size("largest", plan.largest, "the largest blobs");
  to.size("max-memsize", plan.max_memsize, "memory of a node; more is stored");
  to.number("read-window-ms", plan.read_window_ms, 0, "MS", "of the nodes");
  to.number("quarantine-ms", plan.quarantine_ms, 1, "MS", "of the nodes");
  to.number("pause-every-ms", options.pause_every_ms, 0, "MS",
            "how often a node or a reader is stopped for a while, on average; 0: never");
  to.number("kill-every-ms", options.kill_every_ms, 0, "MS",
            "how often a node or a reader is killed and started again; 0: never; nobody is over a "
            "provider that does not outlive it");
  to.text("spill-dir", options.spill_root, "DIR", "where the nodes' files go");
  to.text("mempoold", options.mempoold, "PATH", "default: the one beside this program");
}

void add_role(CLI::App& app, Role& role) {
  const std::string hidden;
  app.add_option("--role", role.name)->group(hidden);
  app.add_option("--index", role.index)->group(hidden);
  app.add_option("--life", role.life)->group(hidden);
  app.add_option("--board", role.board)->group(hidden);
}

Options defaults() {
  Options options;
  options.self = std::filesystem::read_symlink("/proc/self/exe");
  options.mempoold = std::filesystem::path(options.self).replace_filename("mempoold");
  std::error_code error;
  options.spill_root = std::filesystem::temp_directory_path(error);
  auto& plan = options.plan;
  plan.seed = std::random_device{}();
  plan.owners = 2;
  plan.readers = 2;
  plan.threads = 2;
  plan.smallest = 64;
  plan.largest = 4 << 20;
  plan.max_memsize = 32 << 20;
  plan.read_window_ms = 10;
  plan.quarantine_ms = 40;
  return options;
}

Status check(Options& options) {
  const auto& plan = options.plan;
  if (plan.owners > torture::kMaxOwners || plan.readers > torture::kMaxReaders ||
      plan.threads > torture::kMaxThreads)
    return fail(Code::kInvalidArgument, "at most " + std::to_string(torture::kMaxOwners) +
                                            " owners and " + std::to_string(torture::kMaxReaders) +
                                            " readers with " +
                                            std::to_string(torture::kMaxThreads) + " threads each");
  if (plan.smallest == 0 || plan.smallest > plan.largest)
    return fail(Code::kInvalidArgument, "--smallest must be 1 or more, and at most --largest");
  if (plan.max_memsize == 0) return fail(Code::kInvalidArgument, "--max-memsize must be 1 or more");
  if (plan.quarantine_ms <= plan.read_window_ms)
    return fail(Code::kInvalidArgument, "--quarantine-ms must be larger than --read-window-ms");
  if (options.spill_root.empty())
    return fail(Code::kInvalidArgument, "TMPDIR is no directory: say --spill-dir");
  if (options.paths.empty()) options.paths = all_paths(options.host);
  for (const auto& path : options.paths) {
    if (path == transport::kPullName)
      return fail(Code::kInvalidArgument, path + " is a way to store, not one to read");
    const auto* provider = transport::find_provider(path);
    if (auto present = transport::choose_paths({path}, false); !present) {
      if (!provider) return fail(Code::kInvalidArgument, present.error().message);
      return forward_error(std::move(present));
    }
    if (provider && !provider->loopback && transport::is_loopback(options.host))
      return fail(Code::kInvalidArgument,
                  path + " does not work on loopback: say --host and the address of its device");
  }
  return {};
}

/// A run is what its flags say, and so are the nodes that it starts: what configures the user's own
/// nodes and clients does not change it.
void forget_configuration() {
  std::vector<std::string> names;
  for (char** at = environ; *at; ++at)
    if (std::string_view(*at).starts_with("MEMPOOL_"))
      names.emplace_back(*at, std::strcspn(*at, "="));
  for (const auto& name : names) unsetenv(name.c_str());
}

int play(const Role& role) {
  auto board = torture::SharedBoard::of_descriptor(role.board);
  if (!board) return programs::failed(kProgram, board.error());
  transport::log().set_level(spdlog::level::err);
  const auto done = role.name == "read" ? torture::read(**board, role.index, role.life)
                                        : torture::churn(**board, role.index);
  return done ? 0 : programs::failed(std::string(kProgram) + ", to " + role.name, done.error());
}

int torture_all(const programs::Configuration& configuration, const Options& options,
                bool as_json) {
  for (const int number : {SIGINT, SIGTERM}) std::signal(number, [](int) { torture::interrupt(); });
  transport::log().set_level(spdlog::level::info);
  const auto say = [as_json](const std::string& text) {
    return as_json ? Status() : programs::print(text);
  };
  auto said = say("seed " + std::to_string(options.plan.seed) + ", " +
                  std::to_string(options.seconds) + " s on each path\n");
  std::vector<torture::Report> reports;
  bool well = true;
  for (const auto& path : options.paths) {
    if (!said || torture::interrupted()) break;
    auto report = torture::run(options, path);
    if (!report) return programs::not_begun(kProgram, configuration, report.error());
    said = say(torture::show(*report));
    well = well && report->well();
    reports.push_back(std::move(*report));
  }
  if (as_json) said = programs::print(torture::json(reports, options.plan));
  if (!said) return programs::failed(kProgram, said.error());
  return well ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  forget_configuration();
  auto options = defaults();
  programs::Configuration configuration;
  declare(configuration, options);
  bool as_json = false;
  Role role;
  CLI::App app{
      "Stores, spills, deletes and reads blobs at full speed on this machine, stops and "
      "kills the processes that do, and compares every byte that is read. Exit status 0: nothing "
      "was wrong."};
  app.name(kProgram);
  programs::offer_version(app);
  configuration.offer(app, {"seconds", "path", "seed", "host", "owners", "readers", "threads",
                            "smallest", "largest", "max-memsize", "read-window-ms", "quarantine-ms",
                            "pause-every-ms", "kill-every-ms", "spill-dir", "mempoold"});
  app.add_flag("--json", as_json, "report as JSON");
  add_role(app, role);
  if (const auto status = programs::parse(app, configuration, argc, argv)) return *status;
  if (!role.name.empty()) return play(role);
  if (auto fine = check(options); !fine) {
    const int status = programs::not_begun(kProgram, configuration, fine.error());
    return fine.error().code == Code::kNoProvider ? kPathIsAbsent : status;
  }
  return torture_all(configuration, options, as_json);
}
