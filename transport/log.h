// The project's one way to log. Programs choose level and place; a library user who does nothing
// sees warnings and errors on standard error, and nothing on the hot path ever logs.
#pragma once

#include <spdlog/logger.h>

namespace mempool::transport {

spdlog::logger& log();

}  // namespace mempool::transport
