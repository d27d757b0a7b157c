// A client, with nobody to talk to: the library answers with an error, as a value.
#include <cstdio>

#include <mempool/mempool.h>

int main() {
  auto pool = mempool::Pool::connect("127.0.0.1:1");
  if (pool) return 1;
  std::puts(pool.error().to_string().c_str());
  return pool.error().code == mempool::Code::kUnavailable ? 0 : 1;
}
