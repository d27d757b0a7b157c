// Another process: its first line of output, and how it is held still while others are measured.
#pragma once

#include <string>
#include <vector>

#include <sys/types.h>

namespace mempool::bench {

class Child {
 public:
  enum class Output { kSaysReady, kDropped };

  /// Starts `command` and, unless its output is dropped, waits for the line that says that it is
  /// ready.
  explicit Child(const std::vector<std::string>& command, Output output = Output::kSaysReady);
  /// Ends it (SIGTERM) and waits for it.
  ~Child();
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  const std::string& first_line() const { return first_line_; }
  /// The words of that line that are not NAME=VALUE, and the values of those that are.
  std::string word(std::size_t index) const;
  std::string value(const std::string& name) const;

  void pause();
  void resume();

 private:
  void await_first_line(int output, const std::string& program);

  pid_t pid_ = -1;
  std::string first_line_;
};

/// A child that spins must not take a core from what it has no part in.
class Awake {
 public:
  explicit Awake(Child* child) : child_(child) {
    if (child_ != nullptr) child_->resume();
  }
  ~Awake() {
    if (child_ != nullptr) child_->pause();
  }
  Awake(const Awake&) = delete;
  Awake& operator=(const Awake&) = delete;

 private:
  Child* child_;
};

}  // namespace mempool::bench
