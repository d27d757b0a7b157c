// Process: a child that this program started, stopped, continued and ended by its own pid. It dies
// with this program, however that ends.
//
// Thread safety: one thread, which must live as long as the children.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include <sys/types.h>

#include <mempool/result.h>

namespace mempool::torture {

class Process {
 public:
  using Clock = std::chrono::steady_clock;

  /// Its standard input is empty. Descriptors that are not close-on-exec are inherited.
  static Result<Process> start(const std::vector<std::string>& command);
  Process(Process&&) noexcept;
  Process& operator=(Process&&) noexcept;
  /// Kills it if it still runs.
  ~Process();

  pid_t pid() const { return pid_; }

  /// The next line that it prints; nothing at the limit, or when it has ended.
  std::optional<std::string> read_line(std::chrono::milliseconds limit);

  /// Sends nothing to a process that has ended.
  void signal(int number);
  /// "exited with 0", "was killed by SIGSEGV"; nothing while it runs.
  std::optional<std::string> ended();
  /// Nothing when it still runs at the limit.
  std::optional<std::string> wait(std::chrono::milliseconds limit);
  void kill();

 private:
  Process(pid_t pid, int output) : pid_(pid), output_(output) {}

  pid_t pid_;
  int output_;  // read end of its standard output
  std::optional<std::string> ended_;
};

inline constexpr const char* kWell = "exited with 0";

}  // namespace mempool::torture
