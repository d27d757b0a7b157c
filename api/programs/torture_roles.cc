#include "api/programs/torture_roles.h"

#include <chrono>
#include <thread>

namespace mempool::torture {

Result<Pool> connect(const Board& board, std::uint32_t owner, const std::string& path) {
  using Clock = std::chrono::steady_clock;
  ClusterOptions options;
  options.cluster = kCluster;
  options.providers = {path};
  options.timeout_ms = kTimeout_ms;
  const auto until = Clock::now() + kStartLimit;
  for (;; ++owner) {
    auto pool = Pool::connect(board.plan.addresses[owner % board.plan.owners].get(), options);
    const bool again = !pool && is_expected(pool.error().code) && !board.stop;
    if (!again || Clock::now() >= until) return pool;
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
}

}  // namespace mempool::torture
