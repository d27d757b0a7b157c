// A program's settings. Each has one name on the command line, in the environment and in a file:
//
//   --max-memsize 64MiB     MEMPOOL_MAX_MEMSIZE=64MiB     max-memsize = "64MiB"
//
// A flag goes before the environment, that before the file, that before the default. An empty
// variable counts as none. The file is the one that --config or MEMPOOL_CONFIG names; it is TOML,
// and a key that no program of MemPool has is an error. This is the only place that reads any of
// them.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <mempool/result.h>

#include "api/programs/config_file.h"

namespace CLI {
class App;
class Option;
}  // namespace CLI

namespace mempool::programs {

class Configuration {
 public:
  // Settings: where the value goes, and what it is by default. `placeholder` and `what` are for
  // --help.
  void text(std::string name, std::string& value, std::string placeholder, std::string what);
  /// A directory, or "none", which is the empty text to the library. (One of that name: "./none".)
  void directory_or_none(std::string name, std::string& value, std::string what);
  /// Repeated, or separated by commas.
  void list(std::string name, Words& value, std::string placeholder, std::string what);
  /// A list of some of the `known` names.
  void names(std::string name, Words& value, Words known, std::string placeholder,
             std::string what);
  /// Plain bytes, "64MiB" (2^20), "1GB" (10^9).
  void size(std::string name, std::uint64_t& value, std::string what);
  void number(std::string name, std::uint32_t& value, std::uint32_t least, std::string placeholder,
              std::string what);
  /// --name and --no-name.
  void flag(std::string name, bool& value, std::string what);
  template <class Value>
  void choice(const std::string& name, Value& value,
              std::vector<std::pair<std::string, Value>> choices, std::string what);

  /// --config.
  void offer_file(CLI::App& program);
  /// Makes settings flags of a program, or of one of its commands. What is not offered is not read
  /// from the environment, nor printed; the file may have it, for another program.
  void offer(CLI::App& app, const std::vector<std::string_view>& names);

  /// Gives all settings their values, once the command line was parsed. InvalidArgument names the
  /// flag, the variable, or file, line and key.
  Status read();

  /// Whether nobody gave the setting a value.
  bool is_default(std::string_view name) const;

  /// A message of the library, which knows settings as members (max_memsize), with flags
  /// (--max-memsize) in their place.
  std::string in_flags(std::string message) const;

  /// What read() made of it, as a file that gives the same again, each with its origin.
  Result<std::string> to_toml() const;

 private:
  enum class Kind { kText, kList, kSize, kNumber, kFlag };
  struct Setting {
    std::string name;
    Kind kind;
    std::string placeholder;
    std::string what;
    std::function<Status(const Words&)> assign;
    std::function<Words()> value;
    CLI::Option* option = nullptr;  // offered
    std::string origin = "default";
  };

  void add(Setting setting) { settings_.push_back(std::move(setting)); }
  void add_choice(std::string name, std::vector<std::string> choices, std::string what,
                  std::function<std::size_t()> get, std::function<void(std::size_t)> set);
  Setting* find(std::string_view name);
  static Result<std::string> toml_value(Kind kind, Words words);
  Status read_file(const std::string& path);
  Status read_environment();
  Status read_flags();

  std::vector<Setting> settings_;
  CLI::Option* config_ = nullptr;
};

template <class Value>
void Configuration::choice(const std::string& name, Value& value,
                           std::vector<std::pair<std::string, Value>> choices, std::string what) {
  std::vector<std::string> names;
  for (const auto& choice : choices) names.push_back(choice.first);
  const auto index = [&value, choices] {
    std::size_t at = 0;
    while (at + 1 < choices.size() && choices[at].second != value) ++at;
    return at;
  };
  add_choice(name, std::move(names), std::move(what), index,
             [&value, choices](std::size_t at) { value = choices[at].second; });
}

}  // namespace mempool::programs
