// Targets: benchmarks of ours, each beside its limit, and one line for each of them at the end.
//
// All benchmarks run once a pass, in the order in which they are registered, so that ours and its
// limit meet the same machine; the two are compared within one pass. What is printed is the median
// over the passes and, for the comparison, the smallest and the largest.
#pragma once

#include <string>
#include <vector>

namespace mempool::bench {

/// One number of a benchmark: a counter, or without one the time of an iteration in nanoseconds.
struct Measure {
  std::string benchmark;
  std::string counter;
};

enum class Goal {
  kTimeAtMost,    // ours takes at most `bound` times the limit's time
  kSpeedAtLeast,  // ours is at least `bound` times as fast; both measures are times
  kNotSlower,     // beyond noise: the median ratio is at most `bound`, or one pass was not slower
  kAddsAtMost,    // ours takes at most `bound` ns more than the limit
  kTakesAtMost,   // ours takes at most `bound` ns, whatever stands beside it
  kShown,         // no bound
};

struct Target {
  std::string name;
  Measure ours;
  Measure limit;
  Goal goal = Goal::kShown;
  double bound = 0;
};

/// Runs what is registered with Google Benchmark and prints the targets. Takes its flags,
/// --passes=N, and --all, which prints every measure too. Returns main's status: 0 also when
/// targets are missed, unless --strict is given.
int run_and_report(int argc, char** argv, const std::vector<Target>& targets);

}  // namespace mempool::bench
