#include "api/programs/command_line.h"

#include <cstdio>

#include <CLI/CLI.hpp>

#include "api/identity.h"
#include "api/programs/configuration.h"
#include "api/programs/system_error.h"

namespace mempool::programs {

std::optional<int> parse(CLI::App& app, Configuration& configuration, int argc, char** argv) {
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  if (auto read = configuration.read(); !read) return misused(app.get_name(), read.error().message);
  return std::nullopt;
}

int print_configuration(const std::string& program, const Configuration& configuration) {
  auto document = configuration.to_toml();
  if (!document) return failed(program, document.error());
  if (std::fputs(document->c_str(), stdout) >= 0 && std::fflush(stdout) == 0) return 0;
  const Status closed = system_error("standard output");
  return failed(program, closed.error());
}

int failed(const std::string& program, const Error& error) {
  std::fprintf(stderr, "%s: %s\n", program.c_str(), error.to_string().c_str());
  return 1;
}

int misused(const std::string& program, const std::string& what) {
  std::fprintf(stderr, "%s: %s\n", program.c_str(), what.c_str());
  return 2;
}

std::string node_text(std::uint64_t id) {
  return id_text(id);
}

}  // namespace mempool::programs
