#include "transport/routes.h"

#include <algorithm>
#include <string_view>

#include "transport/log.h"

namespace mempool::transport {
namespace {

using namespace std::chrono_literals;

constexpr int kTimeoutsToGiveUp = 3;
// A path that works needs less, also where packets are lost and sent again, or the owner's machine
// is busy; and a slow network has the time for its bytes. A caller that has no such patience must
// not take the route away from everybody.
constexpr std::chrono::milliseconds kFairTime = 1s;
constexpr std::uint64_t kFairBytesPer_ms = 50'000;
// But where nobody has more, a path over which nothing has come for so long leads nowhere.
constexpr std::chrono::milliseconds kFairForAll = 5s;
// Between the trials of a route that was given up: doubled each time.
constexpr std::chrono::milliseconds kFirstPause = 1s;
constexpr std::chrono::milliseconds kLongestPause = 5min;

}  // namespace

Routes::Routes(Fabrics& fabrics, std::span<const ProviderOffer> offers, std::string host,
               bool require_rdma)
    : fabrics_(fabrics),
      offers_(offers),
      host_(std::move(host)),
      require_rdma_(require_rdma),
      next_trial_(kNever) {}

Routes::~Routes() {
  for (const auto& route : routes_) route->fabric.remove(route->address);
}

// ---- the best that works; under the mutex ----

Status Routes::open() {
  std::lock_guard lock(mutex_);
  auto opened = open_next();
  if (opened) current_ = routes_.back().get();
  return opened;
}

Status Routes::open_next() {
  std::string why = "it offers none that is allowed here";
  while (next_allowed_ < fabrics_.allowed().size()) {
    const Provider& provider = *fabrics_.allowed()[next_allowed_++];
    if (require_rdma_ && !provider.rdma) continue;
    const auto offer = std::ranges::find(offers_, provider.name, &ProviderOffer::name);
    if (offer == offers_.end()) continue;
    auto fabric = fabrics_.reach(provider, host_);
    auto address = fabric ? (*fabric)->insert(offer->address)
                          : Result<FabricAddress>(tl::unexpected(fabric.error()));
    if (address) {
      routes_.push_back(std::make_unique<Route>(**fabric, *address, *offer));
      return {};
    }
    why = address.error().message;
    log().warn("no {} to {}: {}", provider.name, host_, why);
  }
  return fail(Code::kNoProvider, (require_rdma_ ? "RDMA is required, and there is none to "
                                                : "there is no provider to ") +
                                     host_ + ": " + why);
}

/// Tells whether that is another one.
bool Routes::use_best() {
  const auto usable = [](const auto& route) { return !route->given_up_; };
  auto best = std::ranges::find_if(routes_, usable);
  if (best == routes_.end() && open_next()) best = routes_.end() - 1;
  Route* now = best == routes_.end() ? nullptr : best->get();
  if (current_.exchange(now) == now) return false;
  fabrics_.count_path_change();
  return true;
}

std::string_view Routes::name_of_current() const {
  const Route* route = current();
  return route ? route->provider.name : "the owner sends the bytes";
}

// ---- what readers report ----

void Routes::timed_out(Route& route, const Error& why, std::chrono::milliseconds timeout,
                       std::uint64_t bytes) {
  if (!route.had_time(timeout, bytes)) return;
  // One read that stands still may be a peer that sleeps; several are a path that leads nowhere.
  if (++route.timeouts_in_a_row_ >= kTimeoutsToGiveUp) failed(route, why);
}

/// Many readers may fail at once: one of them moves on, and the others see where to.
void Routes::failed(Route& route, const Error& why) {
  std::lock_guard lock(mutex_);
  if (route.given_up_) return;
  route.given_up_ = true;
  route.pause_ = kFirstPause;
  route.try_later();
  if (use_best())
    log().warn("{} to {} failed ({}); now {}", route.provider.name, host_, why.message,
               name_of_current());
  plan_trial();
}

/// It was given up and works again; or it was worse, and has ended what was under way.
void Routes::take_back(Route& route) {
  std::lock_guard lock(mutex_);
  if (!route.given_up_) return;
  route.given_up_ = false;
  if (use_best()) log().warn("{} to {} works again", route.provider.name, host_);
  plan_trial();
}

bool Routes::Route::had_time(std::chrono::milliseconds timeout, std::uint64_t bytes) {
  if (timeout >= kFairTime + std::chrono::milliseconds(bytes / kFairBytesPer_ms)) return true;
  const auto now = Clock::now().time_since_epoch();
  Clock::rep since = 0;
  if (stands_still_since_.compare_exchange_strong(since, now.count())) return false;
  return timeout > timeout.zero() && now - Clock::duration(since) >= kFairForAll;
}

// ---- trials ----

void Routes::Route::try_later() {
  again_at_ = Clock::now() + pause_;
  pause_ = std::min(2 * pause_, kLongestPause);
}

std::span<const std::unique_ptr<Routes::Route>> Routes::better_than_current() const {
  const auto end = std::ranges::find(routes_, current(), &std::unique_ptr<Route>::get);
  return {routes_.begin(), end};
}

void Routes::plan_trial() {
  auto next = kNever;
  for (const auto& route : better_than_current())
    next = std::min(next, route->again_at_.time_since_epoch().count());
  next_trial_ = next;
}

Routes::Route* Routes::try_again() {
  std::lock_guard lock(mutex_);
  const auto now = Clock::now();
  for (const auto& route : better_than_current()) {
    if (route->again_at_ > now) continue;
    route->try_later();  // but for this one read
    plan_trial();
    return route.get();
  }
  return current_.load();
}

}  // namespace mempool::transport
