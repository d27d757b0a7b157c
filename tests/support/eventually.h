// The one bounded poll of the tests: waits for what another thread or process brings about.
#pragma once

#include <chrono>
#include <thread>

namespace mempool::test {

using Clock = std::chrono::steady_clock;
using namespace std::chrono_literals;

/// Generous where machines are shared and sanitizers slow: it only bounds how long a failure takes.
inline constexpr auto kPatience = 30s;

/// True as soon as the predicate is; false at the limit.
template <class Predicate>
bool eventually(Predicate&& predicate, Clock::duration limit = kPatience) {
  const auto deadline = Clock::now() + limit;
  for (;;) {
    if (predicate()) return true;
    if (Clock::now() >= deadline) return predicate();
    std::this_thread::sleep_for(2ms);
  }
}

}  // namespace mempool::test
