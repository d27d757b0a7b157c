// memcached and redis, as their own clients read from them.
#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <span>
#include <string>

namespace mempool::bench {

enum class Transport { kUnixSocket, kTcp };

/// A server of one, and a client of that server. Both end with it.
class Rival {
 public:
  virtual ~Rival() = default;
  virtual void set(const std::string& key, std::span<const std::byte> bytes) = 0;
  /// The way its client documents first; the reply is dropped. A miss stops the benchmark.
  virtual void get(const std::string& key) = 0;
};

/// Null, with the reason printed, where the server is not installed. `directory` is for its socket
/// and its files.
std::unique_ptr<Rival> start_memcached(const std::filesystem::path& directory, Transport transport);
std::unique_ptr<Rival> start_redis(const std::filesystem::path& directory, Transport transport);

}  // namespace mempool::bench
