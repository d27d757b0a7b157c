#include "summary.h"

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <map>
#include <string_view>
#include <thread>

#include <benchmark/benchmark.h>
#include <sys/resource.h>
#include <unistd.h>

namespace mempool::bench {
namespace {

using Samples = std::vector<double>;

double median(Samples samples) {
  if (samples.empty()) return 0;
  std::ranges::sort(samples);
  const auto middle = samples.size() / 2;
  return samples.size() % 2 == 1 ? samples[middle] : (samples[middle - 1] + samples[middle]) / 2;
}

/// Why a run ended early, if it did. Google Benchmark 1.8 renamed both members.
template <typename Run>
const std::string* failure_of(const Run& run) {
  if constexpr (requires { run.skip_message; }) {
    return run.skipped != 0 ? &run.skip_message : nullptr;
  } else {
    return run.error_occurred ? &run.error_message : nullptr;
  }
}

/// Keeps every number of every pass, and prints nothing but failures.
class Collector final : public benchmark::BenchmarkReporter {
 public:
  bool ReportContext(const Context&) override { return true; }

  void ReportRuns(const std::vector<Run>& runs) override {
    for (const Run& run : runs) {
      const std::string& name = run.run_name.function_name;
      if (const std::string* failure = failure_of(run)) {
        std::fprintf(stderr, "%s: %s\n", name.c_str(), failure->c_str());
        failed_ = true;
        continue;
      }
      const double seconds = run.real_accumulated_time / static_cast<double>(run.iterations);
      samples_[name][""].push_back(seconds * 1e9);
      for (const auto& [counter, value] : run.counters) samples_[name][counter].push_back(value);
    }
  }

  const Samples& of(const Measure& measure) const {
    static const Samples none;
    const auto benchmark = samples_.find(measure.benchmark);
    if (benchmark == samples_.end()) return none;
    const auto counter = benchmark->second.find(measure.counter);
    return counter == benchmark->second.end() ? none : counter->second;
  }
  const std::map<std::string, std::map<std::string, Samples>>& all() const { return samples_; }
  bool failed() const { return failed_; }

 private:
  std::map<std::string, std::map<std::string, Samples>> samples_;
  bool failed_ = false;
};

/// How much of the machine others used while this ran.
class MachineLoad {
 public:
  MachineLoad() : start_(now()) {}

  void print() const {
    const Times end = now();
    const double total = end.total - start_.total;
    const double others = end.busy - start_.busy - (end.own - start_.own);
    double average[1] = {0};
    ::getloadavg(average, 1);
    std::printf("machine: %u cores; others used %.0f %% of them meanwhile; load average %.1f\n",
                std::thread::hardware_concurrency(),
                total > 0 ? 100 * std::max(0.0, others) / total : 0.0, average[0]);
  }

 private:
  struct Times {  // seconds of CPU
    double total = 0;
    double busy = 0;
    double own = 0;  // this process and its ended children
  };

  static double seconds(const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) * 1e-6;
  }

  static Times now() {
    Times times;
    std::ifstream stat("/proc/stat");
    std::string label;
    stat >> label;
    double ticks = 0;
    for (int field = 0; field < 8 && stat >> ticks; ++field) {
      const double time = ticks / static_cast<double>(::sysconf(_SC_CLK_TCK));
      const bool idle = field == 3 || field == 4;
      times.total += time;
      if (!idle) times.busy += time;
    }
    for (const int who : {RUSAGE_SELF, RUSAGE_CHILDREN}) {
      rusage usage{};
      ::getrusage(who, &usage);
      times.own += seconds(usage.ru_utime) + seconds(usage.ru_stime);
    }
    return times;
  }

  const Times start_;
};

std::string text(const char* format, double value) {
  char buffer[64];
  std::snprintf(buffer, sizeof buffer, format, value);
  return buffer;
}

std::string quantity(const Measure& measure, double value) {
  if (measure.counter == "bytes_per_second")
    return text(value < 1e7 ? "%.1f MB/s" : "%.0f MB/s", value / 1e6);
  if (value < 1e3) return text("%.1f ns", value);
  if (value < 1e6) return text("%.1f us", value / 1e3);
  return text("%.1f ms", value / 1e6);
}

struct Verdict {
  double median = 0;
  double least = 0;
  double most = 0;
  bool met = true;
};

/// One pass of ours beside the same pass of its limit: a ratio, or nanoseconds.
double compare(Goal goal, double ours, double limit) {
  switch (goal) {
    case Goal::kSpeedAtLeast:
      return limit / ours;
    case Goal::kAddsAtMost:
      return ours - limit;
    case Goal::kTakesAtMost:
      return ours;
    case Goal::kTimeAtMost:
    case Goal::kNotSlower:
    case Goal::kShown:
      break;
  }
  return ours / limit;
}

bool is_met(const Target& target, const Verdict& verdict) {
  switch (target.goal) {
    case Goal::kTimeAtMost:
    case Goal::kAddsAtMost:
    case Goal::kTakesAtMost:
      return verdict.median <= target.bound;
    case Goal::kSpeedAtLeast:
      return verdict.median >= target.bound;
    case Goal::kNotSlower:
      return verdict.median <= target.bound || verdict.least <= 1;
    case Goal::kShown:
      break;
  }
  return true;
}

Verdict judge(const Target& target, const Samples& ours, const Samples& limit) {
  Samples compared;
  for (std::size_t pass = 0; pass < std::min(ours.size(), limit.size()); ++pass)
    compared.push_back(compare(target.goal, ours[pass], limit[pass]));
  Verdict verdict{median(compared), *std::ranges::min_element(compared),
                  *std::ranges::max_element(compared), true};
  verdict.met = is_met(target, verdict);
  return verdict;
}

std::string compared_text(Goal goal, double value) {
  if (goal == Goal::kAddsAtMost) return text("%+.0f ns", value);
  if (goal == Goal::kTakesAtMost) return text("%.0f ns", value);
  return text(value < 100 ? "%.2f" : "%.0f", value);
}

std::string goal_text(const Target& target) {
  switch (target.goal) {
    case Goal::kTimeAtMost:
      return "at most " + text("%.3g", target.bound) + "x";
    case Goal::kSpeedAtLeast:
      return target.bound < 1 ? "at least " + text("%.2g", target.bound) + " of it"
                              : "at least " + text("%.3g", target.bound) + "x as fast";
    case Goal::kNotSlower:
      return "not slower";
    case Goal::kAddsAtMost:
      return "at most " + text("%+.0f ns", target.bound);
    case Goal::kTakesAtMost:
      return "at most " + text("%.0f ns", target.bound);
    case Goal::kShown:
      break;
  }
  return "-";
}

/// Prints one line a target; true when all that were measured are met.
bool print_targets(const std::vector<Target>& targets, const Collector& results) {
  bool all_met = true;
  std::printf("\n%-52s %12s %12s %9s  %-20s %-20s\n", "target", "ours", "limit", "compared",
              "(min..max)", "wanted");
  for (const Target& target : targets) {
    const Samples& ours = results.of(target.ours);
    const Samples& limit = results.of(target.limit);
    if (ours.empty() || limit.empty()) continue;  // filtered out, or failed
    const Verdict verdict = judge(target, ours, limit);
    all_met = all_met && verdict.met;
    const auto compared = [&](double value) { return compared_text(target.goal, value); };
    const std::string spread = "(" + compared(verdict.least) + ".." + compared(verdict.most) + ")";
    std::printf("%-52s %12s %12s %9s  %-20s %-20s %s\n", target.name.c_str(),
                quantity(target.ours, median(ours)).c_str(),
                quantity(target.limit, median(limit)).c_str(), compared(verdict.median).c_str(),
                spread.c_str(), goal_text(target).c_str(),
                target.goal == Goal::kShown ? "" : (verdict.met ? "met" : "MISSED"));
  }
  return all_met;
}

void print_measures(const Collector& results) {
  std::printf("\n%-52s %12s  %s\n", "benchmark", "median", "(min..max)");
  for (const auto& [name, counters] : results.all()) {
    for (const auto& [counter, samples] : counters) {
      const Measure measure{name, counter};
      const std::string label = counter.empty() ? name : name + " " + counter;
      std::printf("%-52s %12s  (%s..%s)\n", label.c_str(),
                  quantity(measure, median(samples)).c_str(),
                  quantity(measure, *std::ranges::min_element(samples)).c_str(),
                  quantity(measure, *std::ranges::max_element(samples)).c_str());
    }
  }
}

}  // namespace

RunOptions parse_options(int argc, char** argv) {
  constexpr const char* kFlags =
      "--passes=N (how often all of it runs), --all (print every measure), "
      "--strict (status 1 for missed targets)";
  if (std::find(argv, argv + argc, std::string_view("--help")) != argv + argc)
    std::printf("%s: %s, and:\n", argv[0], kFlags);
  benchmark::Initialize(&argc, argv);
  RunOptions options;
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    if (argument == "--strict") {
      options.strict = true;
    } else if (argument == "--all") {
      options.all = true;
    } else if (argument.starts_with("--passes=")) {
      options.passes = std::max(1, std::atoi(argument.substr(9).data()));
    } else {
      std::fprintf(stderr, "%s: unknown argument %s; there are %s, and those of --help\n", argv[0],
                   argv[i], kFlags);
      std::exit(2);
    }
  }
  return options;
}

int run_and_report(const RunOptions& options, const std::vector<Target>& targets) {
  const MachineLoad load;
  Collector results;
  for (int pass = 0; pass < options.passes; ++pass) benchmark::RunSpecifiedBenchmarks(&results);
  if (options.all) print_measures(results);
  const bool met = print_targets(targets, results);
  std::printf("%d passes; ", options.passes);
  load.print();
  if (results.failed()) return 1;
  return options.strict && !met ? 1 : 0;
}

}  // namespace mempool::bench
