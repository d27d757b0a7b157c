#include "support.h"

#include <cstdio>
#include <cstdlib>
#include <random>

#include <unistd.h>

namespace mempool::bench {

namespace fs = std::filesystem;

void stop(const std::string& why) {
  std::fprintf(stderr, "benchmark: %s\n", why.c_str());
  std::exit(1);
}

std::vector<std::byte> make_bytes(std::uint64_t count) {
  std::vector<std::byte> bytes(count);
  std::uint64_t word = 0x9E3779B97F4A7C15ULL;
  for (auto& byte : bytes) {
    word = word * 6364136223846793005ULL + 1442695040888963407ULL;
    byte = static_cast<std::byte>(word >> 56);
  }
  return bytes;
}

std::vector<std::uint32_t> random_draws(std::size_t count, std::size_t below) {
  std::mt19937 random(42);
  std::uniform_int_distribution<std::uint32_t> draw(0, static_cast<std::uint32_t>(below - 1));
  std::vector<std::uint32_t> draws(count);
  for (auto& one : draws) one = draw(random);
  return draws;
}

std::string size_name(std::uint64_t bytes) {
  if (bytes >= kGiB) return std::to_string(bytes / kGiB) + " GiB";
  if (bytes >= kMiB) return std::to_string(bytes / kMiB) + " MiB";
  if (bytes >= kKiB) return std::to_string(bytes / kKiB) + " KiB";
  return std::to_string(bytes) + " B";
}

ScratchDirectory::ScratchDirectory() {
  const char* chosen = std::getenv("MEMPOOL_BENCH_DIR");
  const fs::path parent = chosen != nullptr ? fs::path(chosen) : fs::current_path();
  std::string name = (parent / "mempool-bench-XXXXXX").native();
  if (::mkdtemp(name.data()) == nullptr) stop("no directory can be made in " + parent.native());
  path_ = name;
}

ScratchDirectory::~ScratchDirectory() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

}  // namespace mempool::bench
