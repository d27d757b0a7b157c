#include "api/programs/torture_report.h"

#include <sstream>

#include <nlohmann/json.hpp>

#include "api/programs/print.h"

namespace mempool::torture {
namespace {

using Counts = std::map<std::string, std::uint64_t>;

/// 1234567 as 1,234,567.
std::string grouped(std::uint64_t number) {
  std::string text = std::to_string(number);
  for (auto at = text.size(); at > 3; at -= 3) text.insert(at - 3, ",");
  return text;
}

std::string list(const Counts& counts) {
  std::string text;
  for (const auto& [name, count] : counts)
    text += (text.empty() ? "" : ", ") + name + " " + grouped(count);
  return text.empty() ? "nothing" : text;
}

std::uint64_t per_second(std::uint64_t count, double seconds) {
  return seconds > 0 ? static_cast<std::uint64_t>(static_cast<double>(count) / seconds) : 0;
}

}  // namespace

std::string show(const Report& r) {
  std::ostringstream out;
  const auto line = [&](const std::string& name, const std::string& text) {
    out << "  " << name << std::string(name.size() < 12 ? 12 - name.size() : 1, ' ') << text
        << '\n';
  };
  out << "path " << r.path << ": " << (r.well() ? "nothing wrong" : "WRONG") << '\n';
  line("reads", grouped(r.accepted()) + " accepted (" +
                    grouped(per_second(r.accepted(), r.seconds)) + "/s), " +
                    programs::human_bytes(r.bytes) + " compared");
  line("", grouped(r.views) + " views (" + grouped(r.held) + " held and compared again), " +
               grouped(r.buffers) + " buffers, " + grouped(r.copies) + " copies, " +
               grouped(r.parts) + " parts");
  line("views by", list(r.views_by_path));
  line("retries", list(r.retries));
  line("refused", list(r.refused));
  line("owners", grouped(r.sets) + " sets (" + grouped(per_second(r.sets, r.seconds)) + "/s, " +
                     programs::human_bytes(r.set_bytes) + "), " + grouped(r.deletes) +
                     " deletes, " + grouped(r.moves_to_disk) + " moved to disk, " +
                     grouped(r.promotions) + " promoted, " + grouped(r.evictions) + " evicted");
  line("", "refused: " + list(r.churn_refused));
  line("injected", grouped(r.owner_pauses) + " owners and " + grouped(r.reader_pauses) +
                       " readers stopped, " + grouped(r.owner_kills) + " owners and " +
                       grouped(r.reader_kills) + " readers killed");
  if (r.lost) line("lost", grouped(r.lost) + " reads found no blob, though nobody deletes it");
  for (const auto& trouble : r.troubles) line("trouble", trouble);
  line("WRONG BYTES", grouped(r.wrong) + (r.wrong ? ": " + r.first_wrong : ""));
  return out.str();
}

std::string json(const std::vector<Report>& reports, const Plan& plan) {
  nlohmann::ordered_json runs = nlohmann::ordered_json::array();
  for (const auto& r : reports)
    runs.push_back({{"path", r.path},
                    {"seconds", r.seconds},
                    {"reads", r.accepted()},
                    {"reads_per_second", per_second(r.accepted(), r.seconds)},
                    {"views", r.views},
                    {"buffers", r.buffers},
                    {"copies", r.copies},
                    {"parts", r.parts},
                    {"held_views_compared_again", r.held},
                    {"bytes_compared", r.bytes},
                    {"views_by_path", r.views_by_path},
                    {"retries", r.retries},
                    {"refused", r.refused},
                    {"sets", r.sets},
                    {"set_bytes", r.set_bytes},
                    {"deletes", r.deletes},
                    {"moved_to_disk", r.moves_to_disk},
                    {"promoted", r.promotions},
                    {"evicted", r.evictions},
                    {"owners_refused", r.churn_refused},
                    {"owner_pauses", r.owner_pauses},
                    {"reader_pauses", r.reader_pauses},
                    {"owner_kills", r.owner_kills},
                    {"reader_kills", r.reader_kills},
                    {"troubles", r.troubles},
                    {"lost_blobs", r.lost},
                    {"accepted_wrong_bytes", r.wrong},
                    {"first_wrong", r.first_wrong}});
  return programs::json_text({{"seed", plan.seed}, {"runs", runs}});
}

}  // namespace mempool::torture
