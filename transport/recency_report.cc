#include "transport/recency_report.h"

#include <mutex>
#include <vector>

#include <asio/post.hpp>
#include <asio/steady_timer.hpp>

#include "transport/connection.h"
#include "transport/io_thread.h"

namespace mempool::transport {
namespace {

constexpr std::size_t kProbes = 8;  // places that one object may have

std::size_t place(std::uint64_t object) {
  constexpr std::uint64_t kMix = 0x9E3779B97F4A7C15ULL;
  return (object * kMix) >> 52;  // 12 bits
}
static_assert(RecencyReport::kObjects == std::size_t{1} << 12);

}  // namespace

struct RecencyReport::State : std::enable_shared_from_this<State> {
  State(IoThread& thread, Connection& connection)
      : io(thread.context()), timer(io), session(&connection) {}

  void arm() {
    asio::post(io, [self = shared_from_this()] {
      self->timer.expires_after(std::chrono::milliseconds(kEvery_ms));
      self->timer.async_wait([self](const asio::error_code&) { self->send(); });
    });
  }

  void send() {
    // Before the table is emptied: a note that comes later starts the next report.
    armed = false;
    std::vector<std::byte> report;
    for (auto& noted : objects)
      if (const auto object = noted.exchange(0)) append(report, object);
    std::lock_guard lock(mutex);
    if (session && !report.empty()) session->tell({.op = Op::kTouch}, std::move(report));
  }

  static void append(std::vector<std::byte>& report, std::uint64_t object) {
    for (int shift = 0; shift < 64; shift += 8)
      report.push_back(static_cast<std::byte>(object >> shift));
  }

  asio::io_context& io;
  asio::steady_timer timer;
  std::atomic<bool> armed{false};
  std::array<std::atomic<std::uint64_t>, kObjects> objects{};
  std::mutex mutex;  // of the session, which goes before this
  Connection* session;
};

RecencyReport::RecencyReport(IoThread& io, Connection& session)
    : state_(std::make_shared<State>(io, session)) {}

RecencyReport::~RecencyReport() {
  {
    std::lock_guard lock(state_->mutex);
    state_->session = nullptr;
  }
  asio::post(state_->io, [state = state_] { state->timer.cancel(); });
}

void RecencyReport::note(std::uint64_t object) noexcept {
  const auto first = place(object);
  for (std::size_t i = 0; i < kProbes; ++i) {
    auto& noted = state_->objects[(first + i) % kObjects];
    auto seen = noted.load(std::memory_order_relaxed);
    if (seen == object) return;
    if (seen != 0) continue;
    if (noted.compare_exchange_strong(seen, object)) break;
    if (seen == object) return;
  }
  if (!state_->armed.load(std::memory_order_relaxed) && !state_->armed.exchange(true))
    state_->arm();
}

}  // namespace mempool::transport
