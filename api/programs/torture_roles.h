// The two parts that mempool-torture plays in processes of their own, until the board says stop.
#pragma once

#include <chrono>
#include <cstdint>

#include <mempool/mempool.h>

#include "api/programs/torture_board.h"

namespace mempool::torture {

/// Sets, spills, promotes and deletes blobs of one owner at full speed, and hands their references
/// to the readers.
Status churn(Board& board, std::uint32_t owner);

/// Reads what it is handed, on the plan's path, and compares every byte. `life`: how often this
/// reader was started before.
Status read(Board& board, std::uint32_t reader, std::uint32_t life);

inline constexpr const char* kCluster = "torture";

/// How long one operation may take: pauses are shorter.
inline constexpr std::uint32_t kTimeout_ms = 5000;
/// Until an owner is there; of busy emulated machines, others need far less.
inline constexpr std::chrono::seconds kStartLimit{60};

/// A client of the owner, or of another while that one is not up.
Result<Pool> connect(const Board& board, std::uint32_t owner, const std::string& path);

/// Whether an operation may fail like this when nothing is wrong.
inline bool is_expected(Code code) {
  switch (code) {
    case Code::kNotFound:        // deleted
    case Code::kStaleReference:  // its owner was started again
    case Code::kUnavailable:     // its owner is not up
    case Code::kTimeout:         // its owner was killed or stopped
    case Code::kNoSpace:         // a set, with quarantine and disk full
      return true;
    default:
      return false;
  }
}

}  // namespace mempool::torture
