#include "child.h"

#include <csignal>
#include <sstream>

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support.h"

namespace mempool::bench {

Child::Child(const std::vector<std::string>& command, Output output) {
  std::vector<char*> arguments;
  for (const auto& word : command) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) stop("no pipe");
  pid_ = ::fork();
  if (pid_ < 0) stop("no process can be started");
  if (pid_ == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGTERM);
    ::dup2(output == Output::kDropped ? ::open("/dev/null", O_WRONLY) : ends[1], STDOUT_FILENO);
    ::execvp(arguments[0], arguments.data());
    ::_exit(127);
  }
  ::close(ends[1]);
  if (output == Output::kSaysReady) await_first_line(ends[0], command[0]);
  ::close(ends[0]);
}

void Child::await_first_line(int output, const std::string& program) {
  char letter = 0;
  while (::read(output, &letter, 1) == 1 && letter != '\n') first_line_ += letter;
  if (letter != '\n') stop(program + " did not start");
}

Child::~Child() {
  ::kill(pid_, SIGCONT);
  ::kill(pid_, SIGTERM);
  ::waitpid(pid_, nullptr, 0);
}

std::string Child::word(std::size_t index) const {
  std::istringstream words(first_line_);
  std::string word;
  for (std::size_t at = 0; words >> word; ++at)
    if (at == index) return word;
  return {};
}

std::string Child::value(const std::string& name) const {
  std::istringstream words(first_line_);
  for (std::string word; words >> word;)
    if (word.starts_with(name + "=")) return word.substr(name.size() + 1);
  return {};
}

void Child::pause() {
  ::kill(pid_, SIGSTOP);
  int status = 0;
  ::waitpid(pid_, &status, WUNTRACED);
}

void Child::resume() {
  ::kill(pid_, SIGCONT);
}

}  // namespace mempool::bench
