// Targets: benchmarks of ours, each beside its limit, and one line for each of them at the end.
//
// All benchmarks run once a pass, in the order in which they are registered, so that ours and its
// limit meet the same machine; a ratio is taken within one pass. What is printed is the median over
// the passes and, for the ratio, the smallest and the largest.
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
  kSame,   // equal within noise: the ratios of the passes lie on both sides of 1, or the median
           // is at most `bound`
  kShown,  // no bound
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
