// Routes: the providers by which one peer's regions can be read, and which of them is in use.
//
// The first provider, best first, that both have and that opens is taken when the two meet. One
// that fails, or that times out several times in a row where it had a fair time or when it has
// brought nothing for seconds, is given up for the next best. Now and then a single read tries
// again one that was given up, and when it comes through that is in use again. Every change is
// logged and counted. Thread safety: every call from any thread. `fabrics` and `offers` outlive the
// routes.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <limits>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "transport/fabrics.h"

namespace mempool::transport {

class Routes {
 public:
  class Route;

  Routes(Fabrics& fabrics, std::span<const ProviderOffer> offers, std::string host,
         bool require_rdma);
  /// No read is under way any more.
  ~Routes();
  Routes(const Routes&) = delete;
  Routes& operator=(const Routes&) = delete;

  /// NoProvider when none can be had, and why the last one could not.
  Status open();

  /// The one in use; null when none works.
  const Route* current() const noexcept { return current_.load(); }
  /// Whether choose() may have one.
  bool any() const noexcept { return current() || trial_is_due(); }
  /// The one for the next read: mostly the one in use. Null when there is none.
  Route* choose() { return trial_is_due() ? try_again() : current_.load(); }

  /// How a read over a chosen one went.
  inline void worked(Route& route);
  /// After how long, and for how many bytes: one that had little time says nothing of the route
  /// while others come through.
  void timed_out(Route& route, const Error& why, std::chrono::milliseconds timeout,
                 std::uint64_t bytes);
  void failed(Route& route, const Error& why);

 private:
  using Clock = std::chrono::steady_clock;
  static constexpr auto kNever = std::numeric_limits<Clock::rep>::max();

  Status open_next();
  bool use_best();
  void take_back(Route& route);
  Route* try_again();
  std::span<const std::unique_ptr<Route>> better_than_current() const;
  void plan_trial();
  bool trial_is_due() const noexcept {
    const auto next = next_trial_.load(std::memory_order_relaxed);
    return next != kNever && Clock::now().time_since_epoch().count() >= next;
  }
  std::string_view name_of_current() const;

  Fabrics& fabrics_;
  const std::span<const ProviderOffer> offers_;
  const std::string host_;
  const bool require_rdma_;
  std::atomic<Route*> current_{nullptr};
  std::atomic<Clock::rep> next_trial_;  // ticks of Clock

  std::mutex mutex_;                            // of all below
  std::size_t next_allowed_ = 0;                // providers before it were opened, or cannot be
  std::vector<std::unique_ptr<Route>> routes_;  // best first
};

class Routes::Route {
 public:
  Route(Fabric& opened, FabricAddress inserted, const ProviderOffer& offered)
      : fabric(opened), provider(opened.provider()), address(inserted), offer(offered) {}

  Fabric& fabric;
  const Provider& provider;
  const FabricAddress address;
  const ProviderOffer& offer;

 private:
  friend class Routes;
  void try_later();
  /// Whether a read's timeout says something of the route.
  bool had_time(std::chrono::milliseconds timeout, std::uint64_t bytes);

  std::atomic<int> timeouts_in_a_row_{0};
  std::atomic<Clock::rep> stands_still_since_{0};  // ticks; a timeout after which no read worked
  // Of the routes' mutex:
  bool given_up_ = false;
  Clock::time_point again_at_{};
  std::chrono::milliseconds pause_{0};
};

void Routes::worked(Route& route) {
  route.timeouts_in_a_row_.store(0, std::memory_order_relaxed);
  route.stands_still_since_.store(0, std::memory_order_relaxed);
  if (&route != current()) take_back(route);
}

}  // namespace mempool::transport
