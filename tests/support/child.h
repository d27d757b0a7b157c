// Child: a program that a test started, with what it printed. It never outlives the test.
#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/bytes.h"
#include "support/eventually.h"

namespace mempool::test {

struct ChildOptions {
  std::vector<std::string> environment;  // NAME=VALUE, beside those inherited but for MEMPOOL_...
  Bytes input;                           // standard input
  std::string directory;                 // empty: the test's own
};

/// How a child ended: a status, or the signal that ended it.
struct Ended {
  int status = -1;
  int signal = 0;
  friend bool operator==(const Ended&, const Ended&) = default;
};
inline void PrintTo(const Ended& e, std::ostream* out) {
  *out << "status " << e.status << ", signal " << e.signal;
}

/// Output goes to nameless files: the child never blocks on a reader, and nothing is lost. The
/// child dies with the thread that started it.
class Child {
 public:
  explicit Child(const std::vector<std::string>& command, const ChildOptions& options = {});
  Child(Child&& other) noexcept;
  Child& operator=(Child&&) = delete;
  /// Kills it if it still runs.
  ~Child();

  pid_t pid() const { return pid_; }
  bool running() { return !wait_for(Clock::duration::zero()); }
  /// Sends nothing to a child that has ended.
  void signal(int number);

  /// Nothing if it still runs at the limit.
  std::optional<Ended> wait_for(Clock::duration limit = kPatience);
  /// Fails the test, and kills, at the limit.
  Ended wait(Clock::duration limit = kPatience);

  /// All that was printed until now.
  std::string out() const;
  std::string err() const;

 private:
  pid_t pid_ = -1;
  int out_ = -1;
  int err_ = -1;
  std::optional<Ended> ended_;
};

/// Runs `body` in a forked child; true if it ended normally, with no failed expectation, in time.
bool in_child(const std::function<void()>& body, Clock::duration limit = kPatience);

/// In a child: gives up root's rights, so that permissions count.
void become_nobody();

/// From /proc: 0 when the process is gone.
std::uint64_t resident_bytes(pid_t pid);
/// Without pages of files: those are the system's cache.
std::uint64_t anonymous_bytes(pid_t pid);
/// Of all its threads, as fine as the scheduler counts; 0 when the process is gone.
std::chrono::nanoseconds processor_time(pid_t pid);
/// With those that its children had read, once they are waited for. 0 where the system does not
/// count.
std::uint64_t bytes_read(pid_t pid);

/// Whether this build is slowed down, and its memory swollen, by a sanitizer.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr bool kSanitized = true;
#else
inline constexpr bool kSanitized = false;
#endif

}  // namespace mempool::test
