// How a torture run is shown.
#pragma once

#include <string>
#include <vector>

#include "api/programs/torture_run.h"

namespace mempool::torture {

/// For people, several lines.
std::string show(const Report& report);
/// All runs, as JSON.
std::string json(const std::vector<Report>& reports, const Plan& plan);

}  // namespace mempool::torture
