// One torture run on one path: owners, churners and readers as processes, which are stopped,
// continued, killed and started again until the time is up or wrong bytes were found.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include <mempool/result.h>

#include "api/programs/torture_board.h"

namespace mempool::torture {

struct Options {
  std::uint32_t seconds = 15;
  std::vector<std::string> paths;
  Plan plan;  // but for the path and the addresses
  std::string host = "127.0.0.1";
  std::uint32_t pause_every_ms = 400;  // on average; 0: never
  std::uint32_t kill_every_ms = 3000;
  std::string mempoold;  // program
  std::string self;      // program
  std::string spill_root;
};

struct Report {
  std::string path;
  double seconds = 0;
  // Readers.
  std::uint64_t views = 0;
  std::uint64_t buffers = 0;
  std::uint64_t copies = 0;
  std::uint64_t parts = 0;
  std::uint64_t held = 0;
  std::uint64_t bytes = 0;
  std::uint64_t wrong = 0;
  std::uint64_t lost = 0;
  std::string first_wrong;
  std::map<std::string, std::uint64_t> views_by_path;
  std::map<std::string, std::uint64_t> retries;  // by reason
  std::map<std::string, std::uint64_t> refused;  // by code
  // Churners.
  std::uint64_t sets = 0;
  std::uint64_t set_bytes = 0;
  std::uint64_t deletes = 0;
  std::uint64_t moves_to_disk = 0;
  std::uint64_t promotions = 0;
  std::uint64_t evictions = 0;
  std::map<std::string, std::uint64_t> churn_refused;
  // What was done to them.
  std::uint64_t owner_pauses = 0;
  std::uint64_t reader_pauses = 0;
  std::uint64_t owner_kills = 0;
  std::uint64_t reader_kills = 0;
  std::vector<std::string> troubles;  // what should not have happened, wrong bytes apart

  std::uint64_t accepted() const { return views + buffers + copies + parts; }
  bool well() const { return wrong == 0 && lost == 0 && troubles.empty(); }
};

/// An error: it could not begin. Its processes have ended when it returns.
Result<Report> run(const Options& options, const std::string& path);

/// Asks a run to end early; may be called from a signal handler.
void interrupt();
bool interrupted();

}  // namespace mempool::torture
