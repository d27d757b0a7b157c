#include "transport/log.h"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

namespace mempool::transport {

spdlog::logger& log() {
  // Never destroyed: threads may log while the process exits.
  static auto& logger = *new std::shared_ptr<spdlog::logger>([] {
    if (auto given = spdlog::get("mempool")) return given;
    auto made = spdlog::stderr_logger_mt("mempool");
    made->set_level(spdlog::level::warn);
    return made;
  }());
  return *logger;
}

}  // namespace mempool::transport
