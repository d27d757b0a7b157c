#include "transport/forks.h"

#include <pthread.h>

namespace mempool::transport {

std::atomic<unsigned> forks{0};

namespace {

const int fork_handler = pthread_atfork(nullptr, nullptr, [] { ++forks; });

}  // namespace
}  // namespace mempool::transport
