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

struct RunOptions {
  int passes = 7;
  bool all = false;     // every measure is printed, too
  bool strict = false;  // a target that is missed is a failure
};

/// The command line: Google Benchmark's flags, --passes=N, --all and --strict. Comes before all
/// else, because --help and what nobody knows end the process here.
RunOptions parse_options(int argc, char** argv);

/// Runs what is registered with Google Benchmark and prints the targets. Returns main's status.
int run_and_report(const RunOptions& options, const std::vector<Target>& targets);

}  // namespace mempool::bench
