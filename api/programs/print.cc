#include "api/programs/print.h"

#include <cstdio>

#include <nlohmann/json.hpp>

#include "api/programs/command_line.h"

namespace mempool::programs {
namespace {

using nlohmann::ordered_json;

std::string where(const BlobInfo& info) {
  if (info.in_memory && info.on_disk) return "memory and disk";
  return info.in_memory ? "memory" : "disk";
}

ordered_json to_json(const BlobInfo& info) {
  return {{"owner", node_text(info.ref.id.node)},
          {"object", info.ref.id.object},
          {"bytes", info.ref.length},
          {"type", info.type_name},
          {"in_memory", info.in_memory},
          {"on_disk", info.on_disk},
          {"pins", info.pins},
          {"drop_on_evict", info.drop_on_evict},
          {"retain", info.retain},
          {"file", info.file},
          {"path", info.path}};
}

ordered_json to_json(const NodeInfo& node) {
  return {{"id", node_text(node.id)}, {"address", node.address},
          {"bound", node.bound},      {"incarnation", node_text(node.incarnation)},
          {"alive", node.alive},      {"providers", node.providers}};
}

ordered_json to_json(const Stats& s) {
  ordered_json paths = ordered_json::object();
  for (const auto& [name, path] : s.gets_by_path)
    paths[name] = {{"gets", path.gets}, {"bytes", path.bytes}};
  return {{"node", node_text(s.node)},
          {"payload_bytes", s.store.payload_bytes},
          {"max_memsize", s.store.max_memsize},
          {"capacity_bytes", s.store.capacity_bytes},
          {"blobs", s.store.blobs},
          {"blobs_in_memory", s.store.blobs_in_memory},
          {"blobs_on_disk", s.store.blobs_on_disk},
          {"disk_bytes", s.store.disk_bytes},
          {"max_disksize", s.store.max_disksize},
          {"spilled_bytes", s.store.spilled_bytes},
          {"hits", s.store.hits},
          {"misses", s.store.misses},
          {"evictions", s.store.evictions},
          {"fragmentation_evictions", s.store.fragmentation_evictions},
          {"quarantined_bytes", s.store.quarantined_bytes},
          {"pinned_blobs", s.store.pinned_blobs},
          {"gets_by_path", paths},
          {"requests_served", s.requests_served},
          {"recency_reports", s.recency_reports},
          {"sessions", s.sessions},
          {"retries", s.retries},
          {"path_changes", s.path_changes},
          {"rss_bytes", s.rss_bytes}};
}

/// One "name  value" line for each member; a unit in the name is shown with the value.
std::string lines(const ordered_json& object, const std::string& indent = "") {
  std::string text;
  for (const auto& [name, value] : object.items()) {
    const bool bytes = name == "bytes" || name.ends_with("_bytes") || name.starts_with("max_");
    char line[64];
    std::snprintf(line, sizeof line, "%s%-24s ", indent.c_str(), printable(name).c_str());
    text += line;
    if (value.is_object()) {
      text += value.empty() ? "none\n" : "\n" + lines(value, indent + "  ");
    } else if (value.is_string()) {
      text += printable(value.get<std::string>()) + "\n";
    } else if (bytes && value.is_number()) {
      text += value.dump() + " (" + human_bytes(value.get<std::uint64_t>()) + ")\n";
    } else {
      text += value.dump() + "\n";
    }
  }
  return text;
}

}  // namespace

std::string json_text(const ordered_json& value) {
  return value.dump(2, ' ', /*ensure_ascii=*/false, ordered_json::error_handler_t::replace) + "\n";
}

std::string printable(std::string_view text) {
  std::string shown;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= ' ' && byte != 0x7f) {
      shown += c;
      continue;
    }
    char escaped[8];
    std::snprintf(escaped, sizeof escaped, "\\x%02x", byte);
    shown += escaped;
  }
  return shown;
}

std::string human_bytes(std::uint64_t bytes) {
  static constexpr const char* units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
  double value = static_cast<double>(bytes);
  std::size_t unit = 0;
  while (value >= 1024 && unit + 1 < std::size(units)) {
    value /= 1024;
    ++unit;
  }
  char text[32];
  std::snprintf(text, sizeof text, unit ? "%.1f %s" : "%.0f %s", value, units[unit]);
  return text;
}

std::string microseconds(std::chrono::nanoseconds time) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f us",
                std::chrono::duration<double, std::micro>(time).count());
  return text;
}

std::string show(const BlobInfo& info, bool json) {
  ordered_json object = to_json(info);
  if (json) return json_text(object);
  object.erase("in_memory");
  object.erase("on_disk");
  object["where"] = where(info);
  return lines(object);
}

std::string show(const std::vector<NodeInfo>& nodes, bool json) {
  if (json) {
    ordered_json list = ordered_json::array();
    for (const auto& node : nodes) list.push_back(to_json(node));
    return json_text(list);
  }
  std::string text;
  for (const auto& node : nodes) {
    std::string providers;
    for (const auto& name : node.providers) providers += (providers.empty() ? "" : ",") + name;
    text += node_text(node.id) + "  " + printable(address_text(node)) + "  " +
            (node.alive ? "up  " : "down") + "  " + printable(providers) + "\n";
  }
  return text;
}

std::string show(const Stats& stats, bool json) {
  return json ? json_text(to_json(stats)) : lines(to_json(stats));
}

}  // namespace mempool::programs
