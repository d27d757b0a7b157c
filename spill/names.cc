#include "spill/names.h"

#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <random>

#include <sys/random.h>

namespace mempool::spill {
namespace {

constexpr std::size_t kHexDigits = 16;
constexpr std::string_view kBlobSuffix = ".blob";
constexpr std::string_view kTemporaryPrefix = ".mempool-";
constexpr std::string_view kTemporarySuffix = ".tmp";

std::string hex(std::uint64_t value) {
  char text[kHexDigits + 1];
  std::snprintf(text, sizeof text, "%016" PRIx64, value);
  return text;
}

bool is_decimal(char c) {
  return c >= '0' && c <= '9';
}

bool is_hex(std::string_view text) {
  return text.size() == kHexDigits &&
         std::ranges::all_of(text, [](char c) { return is_decimal(c) || (c >= 'a' && c <= 'f'); });
}

// The middle of `text`, empty if it does not begin and end so.
std::string_view between(std::string_view text, std::string_view prefix, std::string_view suffix) {
  if (text.size() < prefix.size() + suffix.size()) return {};
  if (!text.starts_with(prefix) || !text.ends_with(suffix)) return {};
  text.remove_prefix(prefix.size());
  text.remove_suffix(suffix.size());
  return text;
}

}  // namespace

std::string session_name(pid_t process, std::uint64_t incarnation) {
  return std::to_string(process) + '-' + hex(incarnation);
}

bool is_session_name(std::string_view name) {
  const auto dash = name.find('-');
  if (dash == 0 || dash == std::string_view::npos) return false;
  return std::ranges::all_of(name.substr(0, dash), is_decimal) && is_hex(name.substr(dash + 1));
}

std::string blob_name(std::uint64_t object) {
  return hex(object).append(kBlobSuffix);
}

std::string retained_name(std::uint64_t incarnation, std::uint64_t object) {
  return hex(incarnation) + '-' + blob_name(object);
}

std::string temporary_name() {
  // std::random_device costs more than writing a small file.
  std::uint64_t number = 0;
  if (::getrandom(&number, sizeof number, 0) < 0) number = std::random_device{}();
  return std::string(kTemporaryPrefix).append(hex(number)).append(kTemporarySuffix);
}

bool is_temporary_name(std::string_view name) {
  return is_hex(between(name, kTemporaryPrefix, kTemporarySuffix));
}

bool is_session_file(std::string_view name) {
  return name == kLockName || is_hex(between(name, {}, kBlobSuffix)) || is_temporary_name(name);
}

}  // namespace mempool::spill
