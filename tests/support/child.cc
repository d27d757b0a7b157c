#include "support/child.h"

#include <cerrno>
#include <csignal>
#include <cstring>
#include <ctime>
#include <fstream>
#include <stdexcept>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/prctl.h>

namespace mempool::test {
namespace {

int nameless_file(const char* name) {
  const int fd = ::memfd_create(name, MFD_CLOEXEC);
  if (fd < 0) throw std::runtime_error(std::string("memfd_create: ") + std::strerror(errno));
  return fd;
}

std::string all_of(int fd) {
  std::string text;
  char part[4096];
  for (ssize_t n; (n = ::pread(fd, part, sizeof part, static_cast<off_t>(text.size()))) > 0;)
    text.append(part, static_cast<std::size_t>(n));
  return text;
}

std::uint64_t status_kib(pid_t pid, const std::string& name) {
  std::ifstream in("/proc/" + std::to_string(pid) + "/status");
  for (std::string line; std::getline(in, line);)
    if (line.starts_with(name + ":")) return std::stoull(line.substr(name.size() + 1));
  return 0;
}

}  // namespace

Child::Child(const std::vector<std::string>& command, const ChildOptions& options)
    : out_(nameless_file("out")), err_(nameless_file("err")) {
  const int in = nameless_file("in");
  for (std::size_t at = 0; at < options.input.size();) {
    const auto n = ::write(in, options.input.data() + at, options.input.size() - at);
    if (n <= 0) throw std::runtime_error("cannot prepare standard input");
    at += static_cast<std::size_t>(n);
  }
  ::lseek(in, 0, SEEK_SET);

  std::vector<char*> arguments;
  for (const auto& word : command) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  std::vector<char*> environment;
  for (char** at = environ; *at; ++at) {
    // One of the same name would hide what the test asks for, and the programs' settings are the
    // test's alone: not those of who runs it.
    const std::string_view name(*at, std::strcspn(*at, "="));
    bool dropped = name.starts_with("MEMPOOL_");
    for (const auto& own : options.environment)
      dropped = dropped || (own.starts_with(name) && own[name.size()] == '=');
    if (!dropped) environment.push_back(*at);
  }
  for (const auto& own : options.environment) environment.push_back(const_cast<char*>(own.c_str()));
  environment.push_back(nullptr);

  const pid_t parent = ::getpid();
  pid_ = ::fork();
  if (pid_ < 0) throw std::runtime_error(std::string("fork: ") + std::strerror(errno));
  if (pid_ == 0) {
    // Only async-signal-safe calls from here on.
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != parent) ::_exit(126);
    // Ignored where the tests run in the background.
    for (const int number : {SIGHUP, SIGINT, SIGQUIT}) ::signal(number, SIG_DFL);
    if (!options.directory.empty() && ::chdir(options.directory.c_str()) != 0) ::_exit(126);
    ::dup2(in, STDIN_FILENO);
    ::dup2(out_, STDOUT_FILENO);
    ::dup2(err_, STDERR_FILENO);
    ::execve(arguments[0], arguments.data(), environment.data());
    ::_exit(127);
  }
  ::close(in);
}

Child::Child(Child&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)),
      out_(std::exchange(other.out_, -1)),
      err_(std::exchange(other.err_, -1)),
      ended_(std::exchange(other.ended_, Ended{})) {}

Child::~Child() {
  if (pid_ > 0 && !ended_) {
    signal(SIGKILL);
    wait_for();
  }
  if (out_ >= 0) ::close(out_);
  if (err_ >= 0) ::close(err_);
}

void Child::signal(int number) {
  // Until it is waited for, the pid is this child's.
  if (pid_ > 0 && !ended_) ::kill(pid_, number);
}

std::optional<Ended> Child::wait_for(Clock::duration limit) {
  const auto has_ended = [&] {
    if (ended_) return true;
    int status = 0;
    if (::waitpid(pid_, &status, WNOHANG) != pid_) return false;
    ended_ = WIFEXITED(status) ? Ended{WEXITSTATUS(status), 0} : Ended{-1, WTERMSIG(status)};
    return true;
  };
  eventually(has_ended, limit);
  return ended_;
}

Ended Child::wait(Clock::duration limit) {
  if (auto ended = wait_for(limit)) return *ended;
  ADD_FAILURE() << "process " << pid_ << " did not end in time; it printed:\n" << out() << err();
  signal(SIGKILL);
  wait_for();
  return ended_.value_or(Ended{});
}

std::string Child::out() const {
  return all_of(out_);
}
std::string Child::err() const {
  return all_of(err_);
}

bool in_child(const std::function<void()>& body, Clock::duration limit) {
  const pid_t child = ::fork();
  if (child == 0) {
    body();
    ::_exit(::testing::Test::HasFailure() ? 1 : 0);
  }
  int status = 0;
  if (!eventually([&] { return ::waitpid(child, &status, WNOHANG) == child; }, limit)) {
    ::kill(child, SIGKILL);
    ::waitpid(child, &status, 0);
    return false;
  }
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

void become_nobody() {
  constexpr uid_t kNobody = 65534;
  if (::geteuid() != 0) return;
  ASSERT_EQ(::setgid(kNobody), 0);
  ASSERT_EQ(::setuid(kNobody), 0);
}

std::uint64_t resident_bytes(pid_t pid) {
  return status_kib(pid, "VmRSS") * 1024;
}
std::uint64_t anonymous_bytes(pid_t pid) {
  return (status_kib(pid, "RssAnon") + status_kib(pid, "RssShmem")) * 1024;
}

std::uint64_t bytes_read(pid_t pid) {
  std::ifstream io("/proc/" + std::to_string(pid) + "/io");
  std::string name;
  std::uint64_t value = 0;
  while (io >> name >> value)
    if (name == "rchar:") return value;
  return 0;
}

std::chrono::nanoseconds processor_time(pid_t pid) {
  clockid_t clock{};
  timespec used{};
  if (::clock_getcpuclockid(pid, &clock) != 0 || ::clock_gettime(clock, &used) != 0) return {};
  return std::chrono::seconds(used.tv_sec) + std::chrono::nanoseconds(used.tv_nsec);
}

}  // namespace mempool::test
