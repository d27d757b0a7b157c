// The one thread that runs all control sockets and timers of a pool. It never blocks: what may
// block goes to the listener's workers or stays in the caller.
#pragma once

#include <chrono>
#include <future>
#include <thread>

#include <asio/executor_work_guard.hpp>
#include <asio/io_context.hpp>

namespace mempool::transport {

class IoThread {
 public:
  IoThread() : work_(asio::make_work_guard(context_)) {
    thread_ = std::thread([this] {
      context_.run();
      ended_.set_value();
    });
  }
  ~IoThread() { stop(); }
  IoThread(const IoThread&) = delete;
  IoThread& operator=(const IoThread&) = delete;

  asio::io_context& context() noexcept { return context_; }

  /// Connections and listeners are closed before, so that the thread runs out of work; what has not
  /// ended after two seconds (a name look-up, say) is dropped.
  void stop() {
    if (!thread_.joinable()) return;
    work_.reset();
    if (ended_.get_future().wait_for(std::chrono::seconds(2)) != std::future_status::ready)
      context_.stop();
    thread_.join();
  }

 private:
  asio::io_context context_{1};
  asio::executor_work_guard<asio::io_context::executor_type> work_;
  std::promise<void> ended_;
  std::thread thread_;
};

}  // namespace mempool::transport
