#include "api/programs/doctor.h"

#include <utility>

#include "api/programs/command_line.h"
#include "transport/address.h"

namespace mempool::programs {

int doctor(const PoolOptions& options, const DoctorCommand& command) {
  if (!command.peer.empty())
    if (const auto where = transport::parse_host_port(command.peer); !where)
      return misused("mempool", where.error().message);
  if (!options.listen.empty())
    if (const auto where = transport::parse_host_port(options.listen); !where)
      return misused("mempool", "--listen: " + where.error().message);
  Findings findings;
  const auto add = [&](Findings more) {
    for (auto& finding : more) findings.push_back(std::move(finding));
  };
  // Forks, and so comes before the threads of providers.
  add(examine_system(options));
  add(examine_memory(options));
  add(examine_spill_directory(options));
  add(examine_listen(options));
  add(examine_fabric(options));
  if (!command.peer.empty()) add(examine_peer(command.peer, options));
  if (const auto printed = print(show(findings, command.json)); !printed)
    return failed("mempool", printed.error());
  return has_problem(findings) ? 1 : 0;
}

}  // namespace mempool::programs
