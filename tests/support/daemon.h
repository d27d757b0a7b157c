// The built programs as a test runs them: Daemon is one mempoold, run_cli() one mempool command,
// Reader one client that keeps what it reads.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "support/child.h"
#include "support/files.h"

namespace mempool::test {

using Words = std::vector<std::string>;

/// The paths of mempoold, of mempool, and of a client that keeps what it reads (reader.cc).
std::string daemon_program();
std::string cli_program();
std::string torture_program();
std::string reader_program();

/// A node, ready when constructed (or the test fails with what it printed). Unless told otherwise
/// it listens on a free port of 127.0.0.1 and holds 64 MiB.
class Daemon {
 public:
  struct Options {
    Words arguments;  // in addition
    Words prefix;     // a command that runs it, for example sh -c 'ulimit ...; exec ...'
    std::string listen = "127.0.0.1:0";  // unless the arguments have --listen
    std::string max_memsize = "64MiB";
    ChildOptions child;
  };

  Daemon(const fs::path& spill_directory, const Options& options);
  explicit Daemon(const fs::path& spill_directory, const Words& arguments = {})
      : Daemon(spill_directory, Options{.arguments = arguments}) {}
  /// Still running: stop().
  ~Daemon();
  Daemon(const Daemon&) = delete;
  Daemon& operator=(const Daemon&) = delete;

  const std::string& address() const { return address_; }  // HOST:PORT
  std::uint16_t port() const;
  const std::string& node() const { return node_; }  // id, as printed
  std::uint64_t node_id() const;
  const Words& providers() const { return providers_; }
  const fs::path& spill_directory() const { return spill_directory_; }
  pid_t pid() const { return child_->pid(); }
  Child& child() { return *child_; }
  bool running() { return child_->running(); }

  /// SIGTERM; expects a clean end in time.
  void stop();
  void kill9();
  /// Stops and continues its process.
  void pause();
  void resume();

 private:
  fs::path spill_directory_;
  std::unique_ptr<Child> child_;
  std::string address_;
  std::string node_;
  Words providers_;
  bool ended_ = false;
};

/// A client in a process of its own that shows blobs and keeps showing them: something to stop, to
/// kill, and to start elsewhere.
class Reader {
 public:
  struct Blob {
    std::uint64_t seed;
    std::string ref;
  };
  struct Options {
    std::string paths = "auto";
    Words prefix;  // a command that runs it
    bool hold = true;
  };
  Reader(const std::string& node, const std::vector<Blob>& blobs, const Options& options);
  Reader(const std::string& node, const std::vector<Blob>& blobs)
      : Reader(node, blobs, Options()) {}

  /// What it has printed when it has got them all, or failed: "PATH right" for each blob.
  std::string out();
  /// Whether all of what it shows is right, now.
  bool right();
  Child& child() { return child_; }

 private:
  Child child_;
};

/// What one command printed and how it ended.
struct Ran {
  int status = -1;
  std::string out;
  std::string err;
};
inline void PrintTo(const Ran& ran, std::ostream* out) {
  *out << "status " << ran.status << "\n--- out\n" << ran.out << "\n--- err\n" << ran.err;
}

Ran run(const Words& command, const ChildOptions& options = {},
        Clock::duration limit = 2 * kPatience);

/// mempool --node NODE words...
Ran run_cli(const std::string& node, const Words& words, const ChildOptions& options = {});

/// mempoold words..., for those that end at once.
Ran run_daemon(const Words& words, const ChildOptions& options = {});

/// The last line that was printed, without its newline.
std::string last_line(const std::string& text);

/// The best TCP provider of this machine, which nodes and clients choose by themselves.
const std::string& best_tcp_provider();

/// A loopback port that is free now and that nobody is given for port 0: for nodes that come back
/// at their address.
std::uint16_t fixed_port();

}  // namespace mempool::test
