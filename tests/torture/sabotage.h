// Which ingredient of the read protocol is left out: the environment says it. Only what is built in
// this folder knows of it.
#pragma once

#include <cstdlib>
#include <string_view>

namespace mempool::sabotage {

/// TORTURE_LEAVES_OUT: "quarantine", "slots", "generation" or "elapsed"; without it nothing is left
/// out.
inline bool leaves_out(std::string_view ingredient) {
  static const char* const chosen = std::getenv("TORTURE_LEAVES_OUT");
  return chosen != nullptr && chosen == ingredient;
}

}  // namespace mempool::sabotage
