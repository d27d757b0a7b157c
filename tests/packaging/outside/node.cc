// A node inside one program; with an argument, the program also loses memory of its own.
#include <cstdio>
#include <cstring>

#include <mempool/mempool.h>

[[gnu::noinline]] static void lose_memory() {
  for (int i = 0; i < 10; ++i) {
    char* volatile lost = new char[1000];
    std::memset(lost, i, 1000);
    lost = nullptr;
  }
}

int main(int argc, char**) {
  auto pool = mempool::Pool::open({.listen = "127.0.0.1:0"});
  if (!pool) return std::puts(pool.error().to_string().c_str()), 1;
  auto ref = pool->poolset(std::as_bytes(std::span("hello")));
  auto client = mempool::Pool::connect(pool->nodes()->front().address);
  if (!client) return std::puts(client.error().to_string().c_str()), 1;
  auto view = client->poolget(*ref);
  std::puts(reinterpret_cast<const char*>(view->data()));
  if (argc > 1) lose_memory();
}
