// What the programs' command lines have in common: parsing, exit statuses, node ids.
//
// Exit status: 0 done, 1 the operation failed (code and reason on standard error), 2 wrong usage or
// configuration.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include <mempool/info.h>
#include <mempool/result.h>

namespace CLI {
class App;
}

namespace mempool::programs {

class Configuration;

/// --version.
void offer_version(CLI::App& program);

/// Parses the command line and reads the configuration. Nothing when the program should go on, else
/// its exit status: help was asked for, or usage is wrong.
std::optional<int> parse(CLI::App& app, Configuration& configuration, int argc, char** argv);

/// On standard output, all of it.
Status print(const std::string& text);

/// Prints the settings in use; returns the exit status.
int print_configuration(const std::string& program, const Configuration& configuration);

/// Says what failed; returns exit status 1.
int failed(const std::string& program, const Error& error);

/// Says why it could not begin; returns exit status 2 when what was asked for is wrong
/// (InvalidArgument), else 1.
int not_begun(const std::string& program, const Configuration& configuration, const Error& error);

/// Says what is wrong with the usage; returns exit status 2.
int misused(const std::string& program, const std::string& what);

/// A node id as it is printed and typed.
std::string node_text(std::uint64_t id);

/// Where a node listens, as it is printed: "127.0.0.1:7401", and where the host is a name
/// "node7:7401 (10.0.0.7)", with what it is to the node: elsewhere it may be another address.
std::string address_text(const NodeInfo& node);

}  // namespace mempool::programs
