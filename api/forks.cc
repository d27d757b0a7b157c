#include <pthread.h>

#include <mempool/detail/forks.h>

namespace mempool {

std::atomic<unsigned> forks{0};

namespace {

const int fork_handler = pthread_atfork(nullptr, nullptr, [] { ++forks; });

}  // namespace
}  // namespace mempool
