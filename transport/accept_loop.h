// The loop of everything that listens: one connection after the other, until it is closed.
#pragma once

#include <chrono>
#include <exception>
#include <memory>

#include <asio/awaitable.hpp>
#include <asio/steady_timer.hpp>
#include <asio/use_awaitable.hpp>

namespace mempool::transport {

/// `state` has `io`, `closed` and accept_one(), which may throw what it likes: without descriptors
/// or memory, most likely, so that the next try comes a little later.
template <class State>
asio::awaitable<void> accept_until_closed(std::shared_ptr<State> state) {
  asio::steady_timer pause(state->io);
  bool failed = false;
  while (!state->closed) {
    try {
      if (failed) {
        pause.expires_after(std::chrono::milliseconds(100));
        co_await pause.async_wait(asio::use_awaitable);
      }
      failed = false;
      co_await state->accept_one();
    } catch (const std::exception&) {
      failed = true;
    }
  }
}

}  // namespace mempool::transport
