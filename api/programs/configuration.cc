#include "api/programs/configuration.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <cstdlib>
#include <limits>
#include <optional>

#include <CLI/CLI.hpp>

namespace mempool::programs {
namespace {

tl::unexpected<Error> wrong(const std::string& what) {
  return fail(Code::kInvalidArgument, what);
}

// ---- values and their text ----

std::string lower(std::string text) {
  std::ranges::transform(text, text.begin(), [](unsigned char c) { return std::tolower(c); });
  return text;
}

/// "KiB" -> 2^10, "KB" or "K" -> 10^3, and so on; nothing for what is no unit.
std::optional<std::uint64_t> factor_of(const std::string& unit) {
  if (unit.empty() || unit == "b") return 1;
  static constexpr std::string_view kPrefixes = "kmgtpe";
  const auto power = kPrefixes.find(unit[0]);
  const auto rest = unit.substr(1);
  if (power == std::string_view::npos) return std::nullopt;
  const bool binary = rest == "i" || rest == "ib";
  if (!binary && !rest.empty() && rest != "b") return std::nullopt;
  std::uint64_t factor = 1;
  for (std::size_t i = 0; i <= power; ++i) factor *= binary ? 1024 : 1000;
  return factor;
}

Result<std::uint64_t> parse_size(const std::string& text) {
  std::uint64_t number = 0;
  const auto* end = text.data() + text.size();
  const auto parsed = std::from_chars(text.data(), end, number);
  const auto too_large = [&] { return wrong("\"" + text + "\" is more than 64 bits count"); };
  if (parsed.ec == std::errc::result_out_of_range) return too_large();
  const auto factor = factor_of(lower({parsed.ptr, end}));
  if (parsed.ec != std::errc() || !factor)
    return wrong("\"" + text + "\" is no size, such as 1048576, 64MiB or 1GB");
  if (number > std::numeric_limits<std::uint64_t>::max() / *factor) return too_large();
  return number * *factor;
}

/// The largest unit that needs no fraction, so that reading it gives the same.
std::string size_text(std::uint64_t bytes) {
  static constexpr std::array kUnits{"", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  std::size_t unit = 0;
  while (bytes != 0 && bytes % 1024 == 0) {
    bytes /= 1024;
    ++unit;
  }
  return std::to_string(bytes) + kUnits[unit];
}

Result<std::uint32_t> parse_number(const std::string& text, std::uint32_t least) {
  std::uint32_t number = 0;
  const auto* end = text.data() + text.size();
  const auto parsed = std::from_chars(text.data(), end, number);
  if (parsed.ec != std::errc() || parsed.ptr != end || number < least)
    return wrong("\"" + text + "\" is no number from " + std::to_string(least) + " to " +
                 std::to_string(std::numeric_limits<std::uint32_t>::max()));
  return number;
}

Result<bool> parse_flag(const std::string& text) {
  const auto word = lower(text);
  for (const char* yes : {"true", "yes", "on", "1"})
    if (word == yes) return true;
  for (const char* no : {"false", "no", "off", "0"})
    if (word == no) return false;
  return wrong("\"" + text + "\" is neither true nor false");
}

Words split(const std::string& text) {
  Words parts;
  std::size_t begin = 0;
  for (std::size_t comma; (comma = text.find(',', begin)) != std::string::npos; begin = comma + 1)
    parts.push_back(text.substr(begin, comma - begin));
  parts.push_back(text.substr(begin));
  return parts;
}

std::string join(const Words& words, std::string_view between) {
  std::string text;
  for (const auto& word : words) text += (text.empty() ? "" : std::string(between)) + word;
  return text;
}

// ---- names ----

std::string variable_of(const std::string& name) {
  std::string variable = "MEMPOOL_";
  for (const char c : name)
    variable += c == '-' ? '_' : static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return variable;
}

/// Empty when it is not set.
std::string environment(const std::string& variable) {
  const char* value = std::getenv(variable.c_str());
  return value ? value : "";
}

}  // namespace

// ---- declaring ----

void Configuration::text(std::string name, std::string& value, std::string placeholder,
                         std::string what) {
  add({.name = std::move(name),
       .kind = Kind::kText,
       .placeholder = std::move(placeholder),
       .what = std::move(what),
       .assign = [&value](const Words& words) -> Status {
         value = words.at(0);
         return {};
       },
       .value = [&value] { return Words{value}; }});
}

void Configuration::directory_or_none(std::string name, std::string& value, std::string what) {
  static constexpr auto kNone = "none";
  add({.name = std::move(name),
       .kind = Kind::kText,
       .placeholder = "DIR|none",
       .what = std::move(what),
       .assign = [&value](const Words& words) -> Status {
         if (words.at(0).empty()) return wrong("it is empty; say a directory, or none");
         value = words.at(0) == kNone ? "" : words.at(0);
         return {};
       },
       .value = [&value] { return Words{value.empty() ? kNone : value}; }});
}

void Configuration::list(std::string name, Words& value, std::string placeholder,
                         std::string what) {
  add({.name = std::move(name),
       .kind = Kind::kList,
       .placeholder = std::move(placeholder),
       .what = std::move(what),
       .assign = [&value](const Words& words) -> Status {
         value.clear();
         for (const auto& word : words)
           for (auto& part : split(word)) value.push_back(std::move(part));
         return {};
       },
       .value = [&value] { return value; }});
}

void Configuration::names(std::string name, Words& value, Words known, std::string placeholder,
                          std::string what) {
  list(std::move(name), value, std::move(placeholder), std::move(what));
  auto& assign = settings_.back().assign;
  assign = [known = std::move(known), list = std::move(assign)](const Words& words) -> Status {
    for (const auto& word : words)
      for (const auto& part : split(word))
        if (std::ranges::find(known, part) == known.end())
          return wrong("\"" + part + "\" is none of " + join(known, ", "));
    return list(words);
  };
}

void Configuration::size(std::string name, std::uint64_t& value, std::string what) {
  add({.name = std::move(name),
       .kind = Kind::kSize,
       .placeholder = "SIZE",
       .what = std::move(what) + " (64MiB, 1GB, bytes)",
       .assign = [&value](const Words& words) -> Status {
         auto parsed = parse_size(words.at(0));
         if (!parsed) return forward_error(std::move(parsed));
         value = *parsed;
         return {};
       },
       .value = [&value] { return Words{size_text(value)}; }});
}

void Configuration::number(std::string name, std::uint32_t& value, std::uint32_t least,
                           std::string placeholder, std::string what) {
  add({.name = std::move(name),
       .kind = Kind::kNumber,
       .placeholder = std::move(placeholder),
       .what = std::move(what),
       .assign = [&value, least](const Words& words) -> Status {
         auto parsed = parse_number(words.at(0), least);
         if (!parsed) return forward_error(std::move(parsed));
         value = *parsed;
         return {};
       },
       .value = [&value] { return Words{std::to_string(value)}; }});
}

void Configuration::flag(std::string name, bool& value, std::string what) {
  add({.name = std::move(name),
       .kind = Kind::kFlag,
       .placeholder = {},
       .what = std::move(what),
       .assign = [&value](const Words& words) -> Status {
         auto parsed = parse_flag(words.back());  // --name --no-name: the last one counts
         if (!parsed) return forward_error(std::move(parsed));
         value = *parsed;
         return {};
       },
       .value = [&value] { return Words{value ? "true" : "false"}; }});
}

void Configuration::add_choice(std::string name, std::vector<std::string> choices, std::string what,
                               std::function<std::size_t()> get,
                               std::function<void(std::size_t)> set) {
  add({.name = std::move(name),
       .kind = Kind::kText,
       .placeholder = join(choices, "|"),
       .what = std::move(what),
       .assign = [choices, set = std::move(set)](const Words& words) -> Status {
         const auto chosen = std::ranges::find(choices, words.at(0));
         if (chosen == choices.end())
           return wrong("\"" + words.at(0) + "\" is none of " + join(choices, ", "));
         set(static_cast<std::size_t>(chosen - choices.begin()));
         return {};
       },
       .value = [choices, get = std::move(get)] { return Words{choices[get()]}; }});
}

void Configuration::offer_file(CLI::App& program) {
  config_ = program.add_option("--config", "a TOML file with these settings (or MEMPOOL_CONFIG)")
                ->type_name("FILE");
  program.footer(
      "Each setting may also stand in the environment (--max-memsize is MEMPOOL_MAX_MEMSIZE) and "
      "in "
      "the file "
      "(max-memsize = \"64MiB\"). A flag goes before the environment, that before the file.");
}

void Configuration::offer(CLI::App& app, const std::vector<std::string_view>& names) {
  for (const auto name : names) {
    Setting& setting = *find(name);
    const std::string flag = "--" + setting.name;
    if (setting.kind == Kind::kFlag) {
      setting.option = app.add_flag(flag + ",!--no-" + setting.name)->description(setting.what);
      continue;
    }
    setting.option = app.add_option(flag)->description(setting.what);
    setting.option->type_name(setting.placeholder)->default_str(join(setting.value(), ","));
    if (setting.kind == Kind::kList)
      setting.option->expected(1, CLI::detail::expected_max_vector_size)->allow_extra_args(false);
  }
}

// ---- reading ----

Configuration::Setting* Configuration::find(std::string_view name) {
  const auto found = std::ranges::find(settings_, name, &Setting::name);
  return found == settings_.end() ? nullptr : &*found;
}

bool Configuration::is_default(std::string_view name) const {
  return std::ranges::find(settings_, name, &Setting::name)->origin == "default";
}

Status Configuration::read() {
  const bool by_flag = config_ && config_->count() > 0;
  const auto file = by_flag ? config_->as<std::string>() : environment("MEMPOOL_CONFIG");
  // Each overwrites what the one before said.
  if (by_flag || !file.empty())
    if (auto done = read_file(file); !done) return done;
  if (auto done = read_environment(); !done) return done;
  return read_flags();
}

Status Configuration::read_file(const std::string& path) {
  using Type = FileEntry::Type;
  auto entries = read_config_file(path);
  if (!entries) return forward_error(std::move(entries));
  const auto expected = [](Kind kind) -> std::vector<Type> {
    switch (kind) {
      case Kind::kText:
        return {Type::kText};
      case Kind::kList:
        return {Type::kTexts, Type::kText};
      case Kind::kSize:
        return {Type::kText, Type::kInteger};
      case Kind::kNumber:
        return {Type::kInteger};
      case Kind::kFlag:
        return {Type::kBoolean};
    }
    return {};
  };
  for (const auto& entry : *entries) {
    const auto where = path + ":" + std::to_string(entry.line);
    Setting* setting = find(entry.key);
    if (!setting) {
      Words known;
      for (const auto& each : settings_) known.push_back(each.name);
      auto likely = entry.key;
      std::ranges::replace(likely, '_', '-');
      return wrong(where + ": unknown key \"" + entry.key + "\"; " +
                   (find(likely) ? "say " + likely : "known are " + join(known, ", ")));
    }
    const auto types = expected(setting->kind);
    if (std::ranges::find(types, entry.type) == types.end()) {
      Words names;
      for (const auto type : types) names.push_back(to_string(type));
      return wrong(where + ": " + entry.key + " is " + join(names, " or ") + ", not " +
                   to_string(entry.type));
    }
    if (auto done = setting->assign(entry.words); !done)
      return wrong(where + ": " + entry.key + ": " + done.error().message);
    setting->origin = where;
  }
  return {};
}

Status Configuration::read_environment() {
  for (auto& setting : settings_) {
    if (!setting.option) continue;
    const auto variable = variable_of(setting.name);
    const auto text = environment(variable);
    if (text.empty()) continue;
    if (auto done = setting.assign({text}); !done)
      return wrong("environment " + variable + ": " + done.error().message);
    setting.origin = "environment " + variable;
  }
  return {};
}

Status Configuration::read_flags() {
  for (auto& setting : settings_) {
    if (!setting.option || setting.option->count() == 0) continue;
    const auto flag = "--" + setting.name;
    if (auto done = setting.assign(setting.option->results()); !done)
      return wrong(flag + ": " + done.error().message);
    setting.origin = "flag " + flag;
  }
  return {};
}

// ---- printing ----

std::string Configuration::in_flags(std::string message) const {
  for (const auto& setting : settings_) {
    auto member = setting.name;
    std::ranges::replace(member, '-', '_');
    if (member == setting.name) continue;  // a word like any other
    const auto flag = "--" + setting.name;
    for (std::size_t at = 0; (at = message.find(member, at)) != std::string::npos;
         at += flag.size())
      message.replace(at, member.size(), flag);
  }
  return message;
}

Result<std::string> Configuration::toml_value(Kind kind, Words words) {
  // Integers of TOML have 63 bits.
  const bool plain_bytes =
      kind == Kind::kSize && words[0].size() < 19 &&
      std::ranges::all_of(words[0], [](char c) { return c >= '0' && c <= '9'; });
  if (kind == Kind::kNumber || kind == Kind::kFlag || plain_bytes) return words[0];
  for (auto& word : words) {
    auto text = toml_text(word);
    if (!text) return text;
    word = std::move(*text);
  }
  return kind == Kind::kList ? "[" + join(words, ", ") + "]" : words[0];
}

Result<std::string> Configuration::to_toml() const {
  std::string document = "# In use; a flag goes before the environment, that before the file.\n";
  for (const auto& setting : settings_) {
    if (!setting.option) continue;
    auto value = toml_value(setting.kind, setting.value());
    if (!value) return wrong(setting.name + ": " + value.error().message);
    auto origin = setting.origin;  // a file's name may have any character
    std::ranges::replace_if(
        origin, [](char c) { return c < ' ' || c > '~'; }, '?');
    document += setting.name + " = " + *value + "  # " + origin + "\n";
  }
  return document;
}

}  // namespace mempool::programs
