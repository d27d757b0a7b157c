#include "api/programs/command_line.h"

#include <algorithm>
#include <charconv>
#include <cstdio>

#include <CLI/CLI.hpp>

#include "api/identity.h"

namespace mempool::programs {
namespace {

/// Refuses what AsSizeValue lets through: a minus, which wraps to a huge size, hexadecimal digits,
/// and numbers that overflow, which it cuts off.
std::string check_size(const std::string& text) {
  std::uint64_t number = 0;
  const auto* end = text.data() + text.size();
  const auto parsed = std::from_chars(text.data(), end, number);
  if (parsed.ec == std::errc::result_out_of_range) return text + " is more than 64 bits count";
  const auto is_letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); };
  if (parsed.ec != std::errc() || !std::all_of(parsed.ptr, end, is_letter))
    return "\"" + text + "\" is no size, such as 1048576, 64MiB or 1GB";
  return {};
}

}  // namespace

void add_size(CLI::App& app, const std::string& flag, std::uint64_t& value,
              const std::string& what) {
  CLI::Validator size = CLI::AsSizeValue(/*kb_is_1000=*/true);
  size.description("");  // the units are in the option's own text
  const CLI::Validator plain([](std::string& text) { return check_size(text); }, "");
  // Validators run last first.
  app.add_option(flag, value, what + " (64MiB, 1GB, bytes)")
      ->transform(size)
      ->transform(plain)
      ->type_name("SIZE");
}

void add_cluster_options(CLI::App& app, ClusterOptions& options) {
  app.add_option("--cluster", options.cluster, "name of the cluster")->type_name("NAME");
  app.add_option(
         "--provider", options.providers,
         "allowed paths: fabric providers (verbs, net, tcp, sockets, shm), shared (memory of nodes "
         "on this host), files (spill files that this process sees), push (sent by the owner); "
         "default: auto, the best that both sides have")
      ->delimiter(',')
      ->type_name("NAME[,NAME]")
      ->default_str("");
  app.add_flag("--require-rdma", options.require_rdma, "refuse to work without RDMA");
  app.add_option("--timeout-ms", options.timeout_ms, "patience with one operation")
      ->check(CLI::PositiveNumber);
}

std::optional<int> parse(CLI::App& app, int argc, char** argv) {
  if (argc == 1) {
    std::fputs(app.help().c_str(), stderr);
    return 2;
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  return std::nullopt;
}

int failed(const std::string& program, const Error& error) {
  std::fprintf(stderr, "%s: %s\n", program.c_str(), error.to_string().c_str());
  return 1;
}

std::string node_text(std::uint64_t id) {
  return id_text(id);
}

}  // namespace mempool::programs
