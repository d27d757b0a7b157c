#include "api/programs/manifest.h"

#include <charconv>
#include <fstream>
#include <iostream>

namespace mempool::programs {
namespace {

std::string escape(const std::string& path) {
  std::string text;
  for (char c : path) {
    if (c == '\\')
      text += "\\\\";
    else if (c == '\t')
      text += "\\t";
    else if (c == '\n')
      text += "\\n";
    else
      text += c;
  }
  return text;
}

std::string unescape(std::string_view text) {
  std::string path;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\\' || i + 1 == text.size()) {
      path += text[i];
      continue;
    }
    const char c = text[++i];
    path += c == 't' ? '\t' : c == 'n' ? '\n' : c;
  }
  return path;
}

Result<ManifestEntry> parse_line(std::string_view line) {
  const auto first = line.find('\t');
  const auto second = line.find('\t', first == std::string_view::npos ? first : first + 1);
  if (second == std::string_view::npos)
    return fail(Code::kInvalidArgument, "expected path, size and reference with tabs between");
  ManifestEntry entry;
  entry.path = unescape(line.substr(0, first));
  const auto digits = line.substr(first + 1, second - first - 1);
  const auto parsed = std::from_chars(digits.data(), digits.data() + digits.size(), entry.bytes);
  if (parsed.ec != std::errc() || parsed.ptr != digits.data() + digits.size())
    return fail(Code::kInvalidArgument, "the size is no number");
  auto ref = DRef::parse(line.substr(second + 1));
  if (!ref) return forward_error(std::move(ref));
  entry.ref = *ref;
  return entry;
}

}  // namespace

std::string to_line(const ManifestEntry& entry) {
  return escape(entry.path) + "\t" + std::to_string(entry.bytes) + "\t" + entry.ref.to_string() +
         "\n";
}

Result<std::vector<ManifestEntry>> read_manifest(const std::string& path) {
  std::ifstream file;
  if (path != "-") file.open(path);
  if (path != "-" && !file) return fail(Code::kNotFound, path + ": cannot be read");
  std::istream& in = path == "-" ? std::cin : file;
  std::vector<ManifestEntry> entries;
  std::string line;
  for (std::size_t number = 1; std::getline(in, line); ++number) {
    auto entry = parse_line(line);
    if (!entry)
      return fail(entry.error().code,
                  path + ", line " + std::to_string(number) + ": " + entry.error().message);
    entries.push_back(std::move(*entry));
  }
  return entries;
}

}  // namespace mempool::programs
