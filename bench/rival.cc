#include "rival.h"

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <sstream>
#include <thread>
#include <vector>

#include <arpa/inet.h>
#include <hiredis.h>
#include <libmemcached/memcached.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "child.h"
#include "support.h"

namespace mempool::bench {
namespace {

namespace fs = std::filesystem;
using Words = std::vector<std::string>;

constexpr const char* kLoopback = "127.0.0.1";

bool installed(const std::string& program) {
  std::istringstream path(std::getenv("PATH") ? std::getenv("PATH") : "");
  for (std::string directory; std::getline(path, directory, ':');)
    if (::access((fs::path(directory) / program).c_str(), X_OK) == 0) return true;
  std::printf("SKIPPED: %s: it is not installed (Debian package %s)\n", program.c_str(),
              program.c_str());
  return false;
}

/// Free now. The servers cannot choose one and tell.
std::uint16_t free_port() {
  const int socket = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  auto* generic = reinterpret_cast<sockaddr*>(&address);
  if (::bind(socket, generic, length) != 0 || ::getsockname(socket, generic, &length) != 0)
    stop("no free port");
  ::close(socket);
  return ntohs(address.sin_port);
}

/// Tries until the server answers, or for five seconds.
template <class Try>
void await(const char* server, Try answers) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(5);
  while (!answers()) {
    if (std::chrono::steady_clock::now() > end) stop(std::string(server) + " does not answer");
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
}

// ---- memcached ----

struct FreeMemcached {
  void operator()(memcached_st* client) const { memcached_free(client); }
};

class Memcached final : public Rival {
 public:
  Memcached(const fs::path& directory, Transport transport)
      : socket_(directory / "memcached.socket"),
        port_(transport == Transport::kTcp ? free_port() : 0),
        server_(command(), Child::Output::kDropped),
        client_(memcached_create(nullptr)) {
    memcached_behavior_set(client_.get(), MEMCACHED_BEHAVIOR_TCP_NODELAY, 1);
    if (port_ != 0) {
      memcached_server_add(client_.get(), kLoopback, port_);
    } else {
      memcached_server_add_unix_socket(client_.get(), socket_.c_str());
    }
    // A client does not try again at once where it was refused.
    memcached_behavior_set(client_.get(), MEMCACHED_BEHAVIOR_RETRY_TIMEOUT, 0);
    await("memcached", [this] {
      return memcached_set(client_.get(), "ready", 5, "yes", 3, 0, 0) == MEMCACHED_SUCCESS;
    });
  }

  void set(const std::string& key, std::span<const std::byte> bytes) override {
    const auto done =
        memcached_set(client_.get(), key.data(), key.size(),
                      reinterpret_cast<const char*>(bytes.data()), bytes.size(), 0, 0);
    if (done != MEMCACHED_SUCCESS)
      stop(std::string("memcached: ") + memcached_last_error_message(client_.get()));
  }

  void get(const std::string& key) override {
    std::size_t length = 0;
    std::uint32_t flags = 0;
    memcached_return_t status = MEMCACHED_SUCCESS;
    char* value = memcached_get(client_.get(), key.data(), key.size(), &length, &flags, &status);
    if (status != MEMCACHED_SUCCESS)
      stop(std::string("memcached: ") + memcached_strerror(client_.get(), status));
    std::free(value);
  }

 private:
  Words command() const {
    Words words{"memcached", "-m", "1024", "-I", "2m", "-u", "root"};
    const Words where = port_ != 0 ? Words{"-l", kLoopback, "-p", std::to_string(port_)}
                                   : Words{"-s", socket_.native()};
    words.insert(words.end(), where.begin(), where.end());
    return words;
  }

  const fs::path socket_;
  const std::uint16_t port_;
  const Child server_;
  const std::unique_ptr<memcached_st, FreeMemcached> client_;
};

// ---- redis ----

struct FreeRedis {
  void operator()(redisContext* client) const { redisFree(client); }
  void operator()(redisReply* reply) const { freeReplyObject(reply); }
};
using RedisReply = std::unique_ptr<redisReply, FreeRedis>;

class Redis final : public Rival {
 public:
  Redis(const fs::path& directory, Transport transport)
      : socket_(directory / "redis.socket"),
        port_(transport == Transport::kTcp ? free_port() : 0),
        server_(
            {"redis-server", "--port", std::to_string(port_), "--bind", kLoopback, "--unixsocket",
             socket_.native(), "--dir", directory.native(), "--save", "", "--appendonly", "no"},
            Child::Output::kDropped) {
    await("redis-server", [this] {
      client_.reset(port_ != 0 ? redisConnect(kLoopback, port_)
                               : redisConnectUnix(socket_.c_str()));
      return client_ && client_->err == 0;
    });
  }

  void set(const std::string& key, std::span<const std::byte> bytes) override {
    ask("SET %b %b", key.data(), key.size(), bytes.data(), bytes.size());
  }
  void get(const std::string& key) override {
    if (ask("GET %b", key.data(), key.size())->type != REDIS_REPLY_STRING) stop("redis: a miss");
  }

 private:
  template <class... Arguments>
  RedisReply ask(const char* format, Arguments... arguments) {
    RedisReply reply(static_cast<redisReply*>(redisCommand(client_.get(), format, arguments...)));
    if (!reply) stop(std::string("redis: ") + client_->errstr);
    if (reply->type == REDIS_REPLY_ERROR) stop(std::string("redis: ") + reply->str);
    return reply;
  }

  const fs::path socket_;
  const std::uint16_t port_;
  const Child server_;
  std::unique_ptr<redisContext, FreeRedis> client_;
};

}  // namespace

std::unique_ptr<Rival> start_memcached(const fs::path& directory, Transport transport) {
  if (!installed("memcached")) return nullptr;
  return std::make_unique<Memcached>(directory, transport);
}

std::unique_ptr<Rival> start_redis(const fs::path& directory, Transport transport) {
  if (!installed("redis-server")) return nullptr;
  return std::make_unique<Redis>(directory, transport);
}

}  // namespace mempool::bench
