// The one thread that runs all control sockets and timers of a pool. It never blocks: what may
// block goes to the listener's workers or stays in the caller.
#pragma once

#include <chrono>
#include <exception>
#include <future>
#include <thread>

#include <asio/executor_work_guard.hpp>
#include <asio/io_context.hpp>

#include "transport/log.h"

namespace mempool::transport {

class IoThread {
 public:
  IoThread() : work_(asio::make_work_guard(context_)) {
    thread_ = std::thread([this] {
      run();
      ended_.set_value();
    });
  }
  ~IoThread() { stop(); }
  IoThread(const IoThread&) = delete;
  IoThread& operator=(const IoThread&) = delete;

  asio::io_context& context() noexcept { return context_; }

  /// Connections and listeners are closed before, so that the thread runs out of work; what has not
  /// ended after two seconds is dropped. (A name look-up under way is waited for.)
  void stop() {
    if (!thread_.joinable()) return;
    work_.reset();
    if (ended_.get_future().wait_for(std::chrono::seconds(2)) != std::future_status::ready)
      context_.stop();
    thread_.join();
  }

 private:
  /// A handler that runs out of memory loses its own connection and nobody else's.
  void run() {
    for (;;) {
      try {
        context_.run();
        return;
      } catch (const std::exception& failure) {
        log().error("the I/O thread goes on after: {}", failure.what());
      }
    }
  }

  asio::io_context context_{1};
  asio::executor_work_guard<asio::io_context::executor_type> work_;
  std::promise<void> ended_;
  std::thread thread_;
};

}  // namespace mempool::transport
