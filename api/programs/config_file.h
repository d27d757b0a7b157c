// A configuration file: TOML with one value a key and no tables. What the keys mean is not known
// here.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <mempool/result.h>

namespace mempool::programs {

/// A value as typed: what one flag was given.
using Words = std::vector<std::string>;

struct FileEntry {
  enum class Type { kBoolean, kInteger, kText, kTexts, kOther };
  std::string key;
  Type type;
  Words words;  // a boolean is "true" or "false", an integer its digits; empty for kOther
  std::uint32_t line;
};

/// How people call the type: "an integer".
std::string to_string(FileEntry::Type type);

/// All entries of a file. The error names the file, and the line where there is one.
Result<std::vector<FileEntry>> read_config_file(const std::string& path);

/// Text as a TOML value, with quotes. InvalidArgument when it is not UTF-8, as TOML is.
Result<std::string> toml_text(const std::string& text);

}  // namespace mempool::programs
