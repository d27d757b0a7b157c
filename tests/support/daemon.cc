#include "support/daemon.h"

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <sstream>
#include <stdexcept>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

namespace mempool::test {
namespace {

Words split(const std::string& text, char at) {
  Words words;
  std::istringstream in(text);
  for (std::string word; std::getline(in, word, at);) words.push_back(word);
  return words;
}

std::string value_of(const Words& words, const std::string& name) {
  for (const auto& word : words)
    if (word.starts_with(name + "=")) return word.substr(name.size() + 1);
  return {};
}

}  // namespace

std::string daemon_program() {
  return MEMPOOL_DAEMON;
}
std::string cli_program() {
  return MEMPOOL_CLI;
}
std::string torture_program() {
  return MEMPOOL_TORTURE;
}
std::string reader_program() {
  return MEMPOOL_TEST_READER;
}

Daemon::Daemon(const fs::path& spill_directory, const Options& options)
    : spill_directory_(spill_directory) {
  Words command = options.prefix;
  for (const auto& word : {daemon_program(), std::string("--spill-dir"), spill_directory.native(),
                           std::string("--max-memsize"), options.max_memsize})
    command.push_back(word);
  if (std::ranges::find(options.arguments, "--listen") == options.arguments.end())
    command.insert(command.end(), {"--listen", options.listen});
  command.insert(command.end(), options.arguments.begin(), options.arguments.end());
  child_ = std::make_unique<Child>(command, options.child);
  const auto announced = [&] { return child_->out().ends_with('\n'); };
  eventually([&] { return announced() || !child_->running(); });
  if (!announced())
    throw std::runtime_error("mempoold is not ready: " + child_->out() + child_->err());
  auto words = split(last_line(child_->out()), ' ');
  // After a name, what it is: "ready localhost:7401 (127.0.0.1) node=... providers=..."
  if (words.size() == 5 && words[2].front() == '(') words.erase(words.begin() + 2);
  if (words.size() != 4 || words[0] != "ready")
    throw std::runtime_error("not the line of a ready node: " + child_->out());
  address_ = words[1];
  node_ = value_of(words, "node");
  providers_ = split(value_of(words, "providers"), ',');
}

Daemon::~Daemon() {
  stop();
}

std::uint16_t Daemon::port() const {
  return static_cast<std::uint16_t>(std::stoul(address_.substr(address_.rfind(':') + 1)));
}

std::uint64_t Daemon::node_id() const {
  return std::stoull(node_, nullptr, 16);
}

void Daemon::stop() {
  if (std::exchange(ended_, true)) return;
  child_->signal(SIGTERM);
  const auto ended = child_->wait();
  EXPECT_EQ(ended, (Ended{0, 0})) << "mempoold " << address_ << " printed:\n" << child_->err();
}

void Daemon::kill9() {
  ended_ = true;
  child_->signal(SIGKILL);
  child_->wait();
}

void Daemon::pause() {
  child_->signal(SIGSTOP);
  const auto stopped = [&] {
    siginfo_t info{};
    return ::waitid(P_PID, static_cast<id_t>(pid()), &info, WSTOPPED | WNOHANG | WNOWAIT) == 0 &&
           info.si_pid == pid();
  };
  if (!eventually(stopped)) throw std::runtime_error("the node does not stop");
}

void Daemon::resume() {
  child_->signal(SIGCONT);
}

namespace {

Words reader_command(const std::string& node, const std::vector<Reader::Blob>& blobs,
                     const Reader::Options& options) {
  Words command = options.prefix;
  for (const auto& word :
       {reader_program(), std::string(options.hold ? "hold" : "once"), options.paths, node})
    command.push_back(word);
  for (const auto& blob : blobs) {
    command.push_back(std::to_string(blob.seed));
    command.push_back(blob.ref);
  }
  return command;
}

}  // namespace

Reader::Reader(const std::string& node, const std::vector<Blob>& blobs, const Options& options)
    : child_(reader_command(node, blobs, options)) {}

std::string Reader::out() {
  eventually([&] { return child_.out().ends_with("done\n") || !child_.running(); });
  return child_.out() + child_.err();
}

bool Reader::right() {
  const auto before = child_.out().size();
  child_.signal(SIGUSR1);
  eventually([&] { return child_.out().size() > before || !child_.running(); });
  return child_.out().substr(before) == "right\n";
}

Ran run(const Words& command, const ChildOptions& options, Clock::duration limit) {
  Child child(command, options);
  const auto ended = child.wait(limit);
  EXPECT_EQ(ended.signal, 0) << command[0] << " printed:\n" << child.err();
  return {ended.status, child.out(), child.err()};
}

Ran run_cli(const std::string& node, const Words& words, const ChildOptions& options) {
  Words command{cli_program(), "--node", node};
  command.insert(command.end(), words.begin(), words.end());
  return run(command, options);
}

Ran run_daemon(const Words& words, const ChildOptions& options) {
  Words command{daemon_program()};
  command.insert(command.end(), words.begin(), words.end());
  return run(command, options);
}

std::string last_line(const std::string& text) {
  const auto end = text.find_last_not_of('\n');
  if (end == std::string::npos) return {};
  const auto begin = text.rfind('\n', end);
  return text.substr(begin == std::string::npos ? 0 : begin + 1,
                     end - (begin == std::string::npos ? 0 : begin + 1) + 1);
}

const std::string& best_tcp_provider() {
  static const std::string name = [] {
    const TemporaryDirectory directory;
    const Daemon node(directory.path());
    for (const auto& provider : node.providers())
      if (provider == "net" || provider == "tcp") return provider;
    throw std::runtime_error("this machine has no TCP provider");
  }();
  return name;
}

std::uint16_t fixed_port() {
  // Below the range that port 0 is served from; tests that run at once start at different places.
  constexpr unsigned kFirst = 20'000;
  constexpr unsigned kCount = 10'000;
  static unsigned next = static_cast<unsigned>(::getpid()) * 61;
  for (unsigned tries = 0; tries < kCount; ++tries) {
    const auto port = static_cast<std::uint16_t>(kFirst + next++ % kCount);
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    const bool free = ::bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
    ::close(fd);
    if (free) return port;
  }
  throw std::runtime_error("no port is free");
}

}  // namespace mempool::test
