// `load` and `verify`: a whole tree of files into the cluster, and the proof that it came back.
#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <optional>
#include <random>

#include <nlohmann/json.hpp>
#include <openssl/evp.h>

#include "api/programs/command_line.h"
#include "api/programs/commands.h"
#include "api/programs/manifest.h"
#include "api/programs/print.h"
#include "api/programs/progress.h"
#include "api/programs/source_file.h"
#include "api/programs/system_error.h"

namespace mempool::programs {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

struct FoundFile {
  std::string path;
  std::uint64_t bytes;
};

/// What `load` stores, and how much it could not.
struct Tree {
  std::vector<FoundFile> files;
  std::uint64_t left_out = 0;

  void leave_out(const std::string& why) {
    ++left_out;
    std::fprintf(stderr, "left out: %s\n", printable(why).c_str());
  }
};

/// Adds the regular files of one directory, and to `directories` those below it.
std::error_code list(const fs::path& directory, Tree& tree, std::vector<fs::path>& directories) {
  std::error_code error;
  fs::directory_iterator at(directory, error);
  for (; !error && at != fs::directory_iterator(); at.increment(error)) {
    std::error_code unknown;
    const auto type = at->symlink_status(unknown).type();
    if (type == fs::file_type::directory) directories.push_back(at->path());
    const auto bytes = type == fs::file_type::regular ? at->file_size(unknown) : 0;
    // A file that went away in between is none.
    if (unknown && unknown != std::errc::no_such_file_or_directory)
      tree.leave_out(at->path().native() + ": " + unknown.message());
    else if (!unknown && type == fs::file_type::regular)
      tree.files.push_back({at->path().native(), bytes});
  }
  return error;
}

Result<Tree> regular_files(const std::string& directory) {
  Tree tree;
  std::error_code error;
  const auto root = fs::absolute(directory, error);
  std::vector<fs::path> directories{root};
  if (!error) error = list(root, tree, directories);
  if (error) return system_error(directory, error.value());
  for (std::size_t next = 1; next < directories.size(); ++next) {
    const auto below = directories[next];  // a copy: list() adds to them
    if (const auto failed = list(below, tree, directories))
      tree.leave_out(below.native() + ": " + failed.message());
  }
  std::ranges::sort(tree.files, {}, &FoundFile::path);
  return tree;
}

Result<std::vector<std::uint64_t>> targets(Pool& pool, const std::string& on) {
  if (!on.empty()) {
    auto node = find_node(pool, on);
    if (!node) return forward_error(std::move(node));
    return std::vector{*node};
  }
  auto nodes = pool.nodes();
  if (!nodes) return forward_error(std::move(nodes));
  std::vector<std::uint64_t> ids;
  for (const auto& node : *nodes)
    if (node.alive) ids.push_back(node.id);
  if (ids.empty()) return fail(Code::kUnavailable, "no node of the cluster is up");
  return ids;
}

using Digest = std::array<unsigned char, 32>;

Digest sha256(std::span<const std::byte> bytes) {
  Digest digest;
  EVP_Digest(bytes.data(), bytes.size(), digest.data(), nullptr, EVP_sha256(), nullptr);
  return digest;
}

struct Outcome {
  std::uint64_t files = 0;
  std::uint64_t bytes = 0;
  std::uint64_t mismatches = 0;
  std::uint64_t changed_files = 0;  // the original is gone, or is not what it was
  double seconds = 0;               // of all that was compared, reading the originals included
};

/// A get shows bytes that may not have moved yet: only their comparing is a measure. None where the
/// time is too short for one.
std::optional<double> mib_per_s(const Outcome& outcome) {
  constexpr double kLeast_s = 1e-3;
  if (outcome.bytes == 0 || outcome.seconds < kLeast_s) return std::nullopt;
  return static_cast<double>(outcome.bytes) / (1 << 20) / outcome.seconds;
}

Status verify_one(Pool& pool, const ManifestEntry& entry, Outcome& outcome) {
  const auto begin = Clock::now();
  auto view = pool.poolget(entry.ref);
  if (!view) return forward_error(std::move(view));
  const auto leave_out = [&](const std::string& why) -> Status {
    ++outcome.changed_files;
    std::fprintf(stderr, "not compared: %s\n", printable(why).c_str());
    return {};
  };
  auto original = SourceFile::open(entry.path);
  if (!original) return leave_out(original.error().message);
  if (const auto bytes = original->bytes().size(); bytes != entry.bytes)
    return leave_out(entry.path + ": has " + std::to_string(bytes) + " bytes, and had " +
                     std::to_string(entry.bytes));
  const bool same = sha256(view->bytes()) == sha256(original->bytes());
  if (auto whole = original->whole(); !whole) return leave_out(whole.error().message);
  outcome.seconds += std::chrono::duration<double>(Clock::now() - begin).count();
  ++outcome.files;
  outcome.bytes += view->size();
  if (same) return {};
  ++outcome.mismatches;
  std::fprintf(stderr, "mismatch: %s\n", printable(entry.path).c_str());
  return {};
}

std::string show(const Outcome& o, const Stats& local, bool json) {
  const auto rate = mib_per_s(o);
  if (json) {
    nlohmann::ordered_json paths = nlohmann::ordered_json::object();
    for (const auto& [name, path] : local.gets_by_path) paths[name] = path.gets;
    return json_text({{"files", o.files},
                      {"bytes", o.bytes},
                      {"mismatches", o.mismatches},
                      {"changed_files", o.changed_files},
                      {"mib_per_s", rate ? nlohmann::json(*rate) : nlohmann::json()},
                      {"gets_by_path", paths}});
  }
  std::string text = "files       " + std::to_string(o.files) + "\n";
  text += "bytes       " + human_bytes(o.bytes) + "\n";
  for (const auto& [name, path] : local.gets_by_path)
    text += "path        " + name + ": " + std::to_string(path.gets) + " gets, " +
            human_bytes(path.bytes) + "\n";
  if (rate)
    text += "throughput  " +
            human_bytes(static_cast<std::uint64_t>(std::llround(*rate * (1 << 20)))) +
            "/s, comparing included\n";
  if (o.changed_files)
    text += "changed     " + std::to_string(o.changed_files) +
            " could not be compared: the originals are gone or not what they were\n";
  return text + "mismatches  " + std::to_string(o.mismatches) + "\n";
}

}  // namespace

Status load(Pool& pool, const LoadCommand& command) {
  auto tree = regular_files(command.directory);
  if (!tree) return forward_error(std::move(tree));
  auto nodes = targets(pool, command.on);
  if (!nodes) return forward_error(std::move(nodes));
  std::uint64_t total = 0;
  for (const auto& file : tree->files) total += file.bytes;
  Progress progress("loading", total, command.quiet);
  std::size_t turn = 0;
  for (const auto& file : tree->files) {
    auto source = SourceFile::open(file.path);
    if (!source) {
      tree->leave_out(source.error().message);
      continue;
    }
    SetOptions options = command.options;
    options.node = (*nodes)[turn++ % nodes->size()];
    auto ref = store(pool, *source, options);
    if (auto whole = source->whole(); !whole) {
      tree->leave_out(whole.error().message);
      continue;
    }
    if (!ref) return fail(ref.error().code, file.path + ": " + ref.error().message);
    // A blob whose reference is lost is of no use: better to stop.
    if (std::fputs(to_line({file.path, source->bytes().size(), *ref}).c_str(), stdout) < 0)
      return system_error("the manifest");
    progress.advance(file.bytes);
  }
  if (std::fflush(stdout) != 0) return system_error("the manifest");
  if (tree->left_out)
    return fail(Code::kIo, std::to_string(tree->left_out) +
                               " files or directories could not be read; all others are stored");
  return {};
}

Status verify(Pool& pool, const VerifyCommand& command) {
  auto entries = read_manifest(command.manifest);
  if (!entries) return forward_error(std::move(entries));
  std::ranges::shuffle(*entries, std::mt19937_64(std::random_device{}()));
  std::uint64_t total = 0;
  for (const auto& entry : *entries) total += entry.bytes;
  Outcome outcome;
  {
    Progress progress("verifying", total, command.quiet);
    for (const auto& entry : *entries) {
      if (auto read = verify_one(pool, entry, outcome); !read)
        return fail(read.error().code, entry.path + ": " + read.error().message);
      progress.advance(entry.bytes);
    }
  }
  if (auto shown = print(show(outcome, pool.local_stats(), command.json)); !shown) return shown;
  if (outcome.mismatches) return fail(Code::kCorrupt, "bytes came back different");
  if (outcome.changed_files)
    return fail(Code::kNotFound, std::to_string(outcome.changed_files) + " of " +
                                     std::to_string(entries->size()) +
                                     " files could not be compared");
  return {};
}

}  // namespace mempool::programs
