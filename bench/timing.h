// Calls that are timed, and the median of their times.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <string>
#include <vector>

#include <benchmark/benchmark.h>

namespace mempool::bench {

/// The times of calls, and their median.
class Samples {
 public:
  /// Reading the clock takes as long as a short call, so those are timed `calls_a_sample` together.
  template <class Call>
  double time(int calls_a_sample, Call& call) {
    const auto start = std::chrono::steady_clock::now();
    for (int i = 0; i < calls_a_sample; ++i) call();
    const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - start;
    nanoseconds_.push_back(taken.count() * 1e9 / calls_a_sample);
    return taken.count();
  }
  double median() {
    const auto middle = nanoseconds_.begin() + static_cast<std::ptrdiff_t>(nanoseconds_.size() / 2);
    std::ranges::nth_element(nanoseconds_, middle);
    return *middle;
  }

 private:
  std::vector<double> nanoseconds_;
};

template <class Call>
void time_calls(benchmark::State& state, int calls_a_sample, Call&& call) {
  Samples samples;
  call();  // connects
  for (auto _ : state) state.SetIterationTime(samples.time(calls_a_sample, call));
  state.counters["p50"] = samples.median();
}

/// Registers a benchmark of time_calls(state, calls_a_sample, call); each run goes on with the
/// state that the one before left the call in.
template <class Call>
void add_calls(const std::string& name, int calls_a_sample, Call call) {
  benchmark::RegisterBenchmark(name.c_str(),
                               [calls_a_sample, call](benchmark::State& state) mutable {
                                 time_calls(state, calls_a_sample, call);
                               })
      ->UseManualTime()
      ->MinTime(0.2);
}

/// Registers ours and its limit as one benchmark, which takes turns: so many calls of one, as many
/// of the other. What sleeps and wakes is slowed down by other programs, for longer than a turn.
/// Their medians are the counters "ours" and "limit".
template <class Ours, class Limit>
void add_pair(const std::string& name, int calls_a_turn, Ours ours, Limit limit) {
  benchmark::RegisterBenchmark(name.c_str(),
                               [calls_a_turn, ours, limit](benchmark::State& state) mutable {
                                 Samples of_ours;
                                 Samples of_limit;
                                 ours();  // connects
                                 limit();
                                 for (auto _ : state) {
                                   double taken = 0;
                                   for (int i = 0; i < calls_a_turn; ++i)
                                     taken += of_limit.time(1, limit);
                                   for (int i = 0; i < calls_a_turn; ++i)
                                     taken += of_ours.time(1, ours);
                                   state.SetIterationTime(taken);
                                 }
                                 state.counters["ours"] = of_ours.median();
                                 state.counters["limit"] = of_limit.median();
                               })
      ->UseManualTime()
      ->MinTime(0.4);
}

/// The elements of a row one after the other, again and again; their number is a power of two.
template <class T>
class Round {
 public:
  explicit Round(const std::vector<T>& row) : row_(row.data()), mask_(row.size() - 1) {}
  const T& next() { return row_[at_++ & mask_]; }

 private:
  const T* row_;
  std::size_t mask_;
  std::size_t at_ = 0;
};

}  // namespace mempool::bench
