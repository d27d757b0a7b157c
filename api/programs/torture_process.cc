#include "api/programs/torture_process.h"

#include <csignal>
#include <cstring>
#include <thread>
#include <utility>

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "api/programs/system_error.h"

namespace mempool::torture {

using programs::system_error;

namespace {

std::string how(int status) {
  if (WIFEXITED(status)) return "exited with " + std::to_string(WEXITSTATUS(status));
  const char* name = sigabbrev_np(WTERMSIG(status));
  return std::string("was killed by SIG") + (name ? name : std::to_string(WTERMSIG(status)));
}

/// In the child, where only async-signal-safe calls are allowed.
[[noreturn]] void become(char* const* arguments, int output, pid_t parent) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(126);
  setpgid(0, 0);  // what a terminal sends is for the parent, which ends the children in order
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  const int empty = open("/dev/null", O_RDONLY);
  dup2(empty, STDIN_FILENO);
  dup2(output, STDOUT_FILENO);
  execv(arguments[0], arguments);
  _exit(127);
}

}  // namespace

Result<Process> Process::start(const std::vector<std::string>& command) {
  std::vector<char*> arguments;
  for (const auto& word : command) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  int output[2];
  if (pipe2(output, O_CLOEXEC) != 0) return system_error("no pipe");
  const pid_t parent = getpid();
  const pid_t pid = fork();
  if (pid == 0) become(arguments.data(), output[1], parent);
  auto failed = system_error("no process");
  close(output[1]);
  if (pid > 0) return Process(pid, output[0]);
  close(output[0]);
  return failed;
}

Process::Process(Process&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)),
      output_(std::exchange(other.output_, -1)),
      ended_(std::move(other.ended_)) {}

Process& Process::operator=(Process&& other) noexcept {
  std::swap(pid_, other.pid_);
  std::swap(output_, other.output_);
  std::swap(ended_, other.ended_);
  return *this;
}

Process::~Process() {
  if (pid_ > 0) kill();
  if (output_ >= 0) close(output_);
}

std::optional<std::string> Process::read_line(std::chrono::milliseconds limit) {
  const auto until = Clock::now() + limit;
  std::string line;
  for (;;) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - Clock::now());
    pollfd readable{output_, POLLIN, 0};
    if (left.count() <= 0 || poll(&readable, 1, static_cast<int>(left.count())) <= 0)
      return std::nullopt;
    char next = 0;
    if (::read(output_, &next, 1) != 1) return std::nullopt;
    if (next == '\n') return line;
    line += next;
  }
}

void Process::signal(int number) {
  // Until it is waited for, the pid is this child's.
  if (!ended()) ::kill(pid_, number);
}

std::optional<std::string> Process::ended() {
  int status = 0;
  if (!ended_ && waitpid(pid_, &status, WNOHANG) == pid_) ended_ = how(status);
  return ended_;
}

std::optional<std::string> Process::wait(std::chrono::milliseconds limit) {
  const auto until = Clock::now() + limit;
  while (!ended() && Clock::now() < until)
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  return ended();
}

void Process::kill() {
  signal(SIGKILL);
  int status = 0;
  if (!ended_ && waitpid(pid_, &status, 0) == pid_) ended_ = how(status);
}

}  // namespace mempool::torture
