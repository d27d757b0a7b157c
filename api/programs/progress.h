// A progress bar on standard error, only where a person looks at it.
#pragma once

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <string>

#include <unistd.h>

#include "api/programs/print.h"

namespace mempool::programs {

class Progress {
 public:
  Progress(std::string what, std::uint64_t total_bytes, bool quiet)
      : what_(std::move(what)), total_(total_bytes), shown_(!quiet && isatty(STDERR_FILENO)) {}
  ~Progress() {
    if (shown_) std::fputs("\r\033[K", stderr);
  }

  void advance(std::uint64_t bytes) {
    done_ += bytes;
    if (!shown_) return;
    const auto now = std::chrono::steady_clock::now();
    if (now < next_) return;
    next_ = now + std::chrono::milliseconds(100);
    constexpr int width = 30;
    const int filled = total_ ? static_cast<int>(width * done_ / total_) : width;
    std::fprintf(stderr, "\r%s [%-*.*s] %s of %s ", what_.c_str(), width, filled,
                 "##############################", human_bytes(done_).c_str(),
                 human_bytes(total_).c_str());
  }

 private:
  const std::string what_;
  const std::uint64_t total_;
  const bool shown_;
  std::uint64_t done_ = 0;
  std::chrono::steady_clock::time_point next_{};
};

}  // namespace mempool::programs
