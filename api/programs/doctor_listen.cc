// Where a node would listen: what the host's name stands for on this machine, and whether peers on
// other hosts find it there.
#include <string>

#include "api/programs/doctor.h"
#include "transport/address.h"

namespace mempool::programs {
namespace {

/// An address that peers reach instead, as far as this machine knows.
Commands listen_elsewhere(std::uint16_t port) {
  const auto better = transport::outside_address();
  const auto host = better.empty() ? std::string("ADDRESS") : better;
  return {"mempoold --listen " + transport::HostPort{host, port}.to_string() + " --insecure ..."};
}

}  // namespace

Findings examine_listen(const PoolOptions& options) {
  if (options.listen.empty()) return {};
  const auto where = transport::parse_host_port(options.listen);
  if (!where) return {{Sign::kProblem, "listen", where.error().message, {}}};
  const auto host = transport::resolve(where->host);
  if (!host)
    return {{Sign::kProblem, "listen", host.error().message, listen_elsewhere(where->port)}};
  if (transport::is_unspecified(*host))
    return {{Sign::kProblem, "listen", options.listen + " is no address that a peer can connect to",
             listen_elsewhere(where->port)}};
  if (!transport::is_own(*host))
    return {{Sign::kProblem, "listen",
             options.listen + (where->host == *host ? "" : " is " + *host + ", which") +
                 " is no address of this machine: no node starts there",
             listen_elsewhere(where->port)}};
  const auto warning = transport::loopback_name_warning(where->host, *host);
  if (!warning.empty()) return {{Sign::kWarning, "listen", warning, listen_elsewhere(where->port)}};
  return {{Sign::kFine,
           "listen",
           options.listen + (where->host == *host ? "" : " is " + *host + " on this machine, and") +
               (transport::is_loopback(*host) ? " is for peers on this host alone"
                                              : " is for peers on other hosts, with --insecure"),
           {}}};
}

}  // namespace mempool::programs
