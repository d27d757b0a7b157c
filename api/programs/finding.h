// A finding of `mempool doctor`, and how findings are shown.
#pragma once

#include <string>
#include <vector>

namespace mempool::programs {

enum class Sign {
  kFine,
  kWarning,  // it works, and could be better
  kProblem,  // a node would not start, would lose what was asked for, or would fail later
};

using Commands = std::vector<std::string>;

struct Finding {
  Sign sign;
  std::string subject;   // a few words: "memory lock"
  std::string sentence;  // what is so
  Commands remedy;       // what mends it, one after the other; empty when nothing needs to be
};

using Findings = std::vector<Finding>;

bool has_problem(const Findings& findings);

/// For people, or as JSON.
std::string show(const Findings& findings, bool json);

}  // namespace mempool::programs
