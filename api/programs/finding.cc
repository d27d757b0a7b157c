#include "api/programs/finding.h"

#include <algorithm>

#include <nlohmann/json.hpp>

#include "api/programs/print.h"

namespace mempool::programs {
namespace {

constexpr std::size_t kSignWidth = 9;
constexpr std::size_t kSubjectWidth = 19;

const char* word(Sign sign) {
  switch (sign) {
    case Sign::kFine:
      return "fine";
    case Sign::kWarning:
      return "warning";
    case Sign::kProblem:
      return "problem";
  }
  return "";
}

std::ptrdiff_t count(const Findings& findings, Sign sign) {
  return std::ranges::count(findings, sign, &Finding::sign);
}

std::string column(std::string text, std::size_t width) {
  text.resize(std::max(text.size() + 1, width), ' ');
  return text;
}

std::string show_json(const Findings& findings) {
  auto list = nlohmann::ordered_json::array();
  for (const auto& finding : findings)
    list.push_back({{"sign", word(finding.sign)},
                    {"subject", finding.subject},
                    {"sentence", finding.sentence},
                    {"remedy", finding.remedy}});
  const nlohmann::ordered_json report{{"problems", count(findings, Sign::kProblem)},
                                      {"warnings", count(findings, Sign::kWarning)},
                                      {"findings", std::move(list)}};
  return json_text(report);
}

std::string show_text(const Findings& findings) {
  std::string text;
  for (const auto& finding : findings) {
    text += column(word(finding.sign), kSignWidth) + column(finding.subject, kSubjectWidth) +
            printable(finding.sentence) + "\n";
    for (const auto& command : finding.remedy)
      text += std::string(kSignWidth + kSubjectWidth, ' ') + "$ " + printable(command) + "\n";
  }
  const auto plural = [&](Sign sign) {
    const auto number = count(findings, sign);
    return std::to_string(number) + " " + word(sign) + (number == 1 ? "" : "s");
  };
  return text + "\n" + std::to_string(count(findings, Sign::kFine)) + " fine, " +
         plural(Sign::kWarning) + ", " + plural(Sign::kProblem) + "\n";
}

}  // namespace

bool has_problem(const Findings& findings) {
  return count(findings, Sign::kProblem) > 0;
}

std::string show(const Findings& findings, bool json) {
  return json ? show_json(findings) : show_text(findings);
}

}  // namespace mempool::programs
