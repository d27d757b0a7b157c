#include "api/programs/config_file.h"

#include <algorithm>
#include <sstream>

#include <fcntl.h>
#include <toml++/toml.h>
#include <unistd.h>

#include "api/programs/system_error.h"

namespace mempool::programs {
namespace {

// A file that never ends, such as a device, is refused here.
constexpr std::size_t kMaxFileBytes = std::size_t{1} << 20;

Result<std::string> read_text(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  const auto failed = [&] { return system_error("configuration " + path); };
  if (fd < 0) return failed();
  std::string text(kMaxFileBytes + 1, '\0');
  std::size_t size = 0;
  ssize_t n = 0;
  // A pipe, which is fine, comes in pieces.
  while (size < text.size() && (n = ::read(fd, text.data() + size, text.size() - size)) != 0) {
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) break;
    size += static_cast<std::size_t>(n);
  }
  const Result<std::string> error = n < 0 ? Result<std::string>(failed()) : std::string();
  ::close(fd);
  if (!error) return error;
  if (size > kMaxFileBytes)
    return fail(Code::kInvalidArgument, path + ": a configuration has 1 MiB at most");
  text.resize(size);
  return text;
}

FileEntry::Type type_of(const toml::node& value) {
  if (value.is_boolean()) return FileEntry::Type::kBoolean;
  if (value.is_integer()) return FileEntry::Type::kInteger;
  if (value.is_string()) return FileEntry::Type::kText;
  const auto* list = value.as_array();
  const bool texts = list && (list->empty() || list->is_homogeneous(toml::node_type::string));
  return texts ? FileEntry::Type::kTexts : FileEntry::Type::kOther;
}

Words words_of(const toml::node& value) {
  if (const auto* flag = value.as_boolean()) return {flag->get() ? "true" : "false"};
  if (const auto* number = value.as_integer()) return {std::to_string(number->get())};
  if (const auto* text = value.as_string()) return {text->get()};
  Words words;
  for (const auto& element : *value.as_array()) words.push_back(element.as_string()->get());
  return words;
}

}  // namespace

std::string to_string(FileEntry::Type type) {
  switch (type) {
    case FileEntry::Type::kBoolean:
      return "true or false";
    case FileEntry::Type::kInteger:
      return "an integer";
    case FileEntry::Type::kText:
      return "a text in quotes";
    case FileEntry::Type::kTexts:
      return "a list of texts";
    case FileEntry::Type::kOther:
      break;
  }
  return "something else";
}

Result<std::vector<FileEntry>> read_config_file(const std::string& path) {
  auto text = read_text(path);
  if (!text) return forward_error(std::move(text));
  const auto parsed = toml::parse(std::string_view(*text), std::string_view(path));
  if (!parsed) {
    const auto& error = parsed.error();
    return fail(Code::kInvalidArgument, path + ":" + std::to_string(error.source().begin.line) +
                                            ": " + std::string(error.description()));
  }
  std::vector<FileEntry> entries;
  for (const auto& [key, value] : parsed.table()) {
    const auto type = type_of(value);
    entries.push_back({std::string(key.str()), type,
                       type == FileEntry::Type::kOther ? Words{} : words_of(value),
                       key.source().begin.line});
  }
  // The table is sorted by key; the first mistake to report is the first in the file.
  std::ranges::sort(entries, {}, &FileEntry::line);
  return entries;
}

Result<std::string> toml_text(const std::string& text) {
  std::ostringstream out;
  out << toml::toml_formatter(toml::value<std::string>(text), toml::format_flags::none);
  const auto document = "text = " + out.str();
  const auto parsed = toml::parse(std::string_view(document));
  if (!parsed || parsed.table()["text"].value<std::string>() != text)
    return fail(Code::kInvalidArgument, out.str() + " is not UTF-8, as TOML is");
  return out.str();
}

}  // namespace mempool::programs
