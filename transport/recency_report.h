// RecencyReport: tells an owner what was read from its memory without its knowing, so that such
// reads count in its order of use.
//
// Bounded and deduplicated: a get notes the object in a table of fixed size; 100 ms after the first
// note the I/O thread sends what is in it, as one message. Nothing is sent, and nothing runs, while
// nothing is read. With more different blobs in 100 ms than the table takes, the rest is left out.
//
// Thread safety: every call from any thread.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>

namespace mempool::transport {

class Connection;
class IoThread;

class RecencyReport {
 public:
  static constexpr std::size_t kObjects = 4096;
  static constexpr int kEvery_ms = 100;

  /// `session` lives as long as the report.
  RecencyReport(IoThread& io, Connection& session);
  ~RecencyReport();

  /// Lock-free, no allocation; a system call only for the first note in 100 ms.
  void note(std::uint64_t object) noexcept;

 private:
  struct State;  // shared with the I/O thread
  std::shared_ptr<State> state_;
};

}  // namespace mempool::transport
