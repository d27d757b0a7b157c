#include "api/programs/command_line.h"

#include <cstdio>
#include <iostream>

#include <CLI/CLI.hpp>

#include "api/identity.h"
#include "api/programs/configuration.h"
#include "api/programs/system_error.h"
#include "transport/address.h"

namespace mempool::programs {

void offer_version(CLI::App& program) {
  program.set_version_flag("--version", program.get_name() + " " + MEMPOOL_VERSION,
                           "print the version and end");
}

std::optional<int> parse(CLI::App& app, Configuration& configuration, int argc, char** argv) {
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (app.exit(error) != 0) return 2;
    if (std::cout.flush()) return 0;
    const Status closed = system_error("standard output");
    return failed(app.get_name(), closed.error());
  }
  if (auto read = configuration.read(); !read) return misused(app.get_name(), read.error().message);
  return std::nullopt;
}

Status print(const std::string& text) {
  if (std::fputs(text.c_str(), stdout) >= 0 && std::fflush(stdout) == 0) return {};
  return system_error("standard output");
}

int print_configuration(const std::string& program, const Configuration& configuration) {
  auto document = configuration.to_toml();
  if (!document) return failed(program, document.error());
  const auto printed = print(*document);
  return printed ? 0 : failed(program, printed.error());
}

int failed(const std::string& program, const Error& error) {
  std::fprintf(stderr, "%s: %s\n", program.c_str(), error.to_string().c_str());
  return 1;
}

int not_begun(const std::string& program, const Configuration& configuration, const Error& error) {
  failed(program, {error.code, configuration.in_flags(error.message)});
  return error.code == Code::kInvalidArgument ? 2 : 1;
}

int misused(const std::string& program, const std::string& what) {
  std::fprintf(stderr, "%s: %s\n", program.c_str(), what.c_str());
  return 2;
}

std::string node_text(std::uint64_t id) {
  return id_text(id);
}

std::string address_text(const NodeInfo& node) {
  const auto where = transport::parse_host_port(node.address);
  const bool by_number = node.bound.empty() || (where && where->host == node.bound);
  return node.address + (by_number ? "" : " (" + node.bound + ")");
}

}  // namespace mempool::programs
