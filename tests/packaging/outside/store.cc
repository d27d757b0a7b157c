// A cache inside one program.
#include <cstdio>

#include <mempool/mempool.h>

int main() {
  auto pool = mempool::Pool::open({});
  if (!pool) return std::puts(pool.error().to_string().c_str()), 1;
  auto ref = pool->poolset(std::as_bytes(std::span("hello")));
  auto view = pool->poolget(*ref);
  std::puts(reinterpret_cast<const char*>(view->data()));
}
