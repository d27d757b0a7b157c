#include "transport/readiness.h"

#include <array>
#include <cerrno>
#include <cstring>
#include <string>

#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

namespace mempool::transport {
namespace {

// Some hundred microseconds: a thread that sleeps between the reads of a program that reads one
// blob after another is woken by each answer, and on a small machine takes the owner's processor.
constexpr int kBelieved = 32;
constexpr int kLimit_ms = 1000;  // for what no descriptor tells
// In doubt, what one look leaves to the next is waited for, too, if nothing new happens.
constexpr int kLimitInDoubt_ms = 20;

}  // namespace

Status Readiness::open(int descriptor) {
  descriptor_ = descriptor;
  stop_event_ = eventfd(0, EFD_CLOEXEC);
  edges_ = epoll_create1(EPOLL_CLOEXEC);
  if (stop_event_ < 0 || edges_ < 0)
    return fail(Code::kLimit, std::string("no descriptor to wake a thread by: ") +
                                  std::strerror(errno) + " (see ulimit -n)");
  epoll_event change{.events = EPOLLIN | EPOLLET, .data = {}};
  epoll_event stopped{.events = EPOLLIN, .data = {}};
  if (epoll_ctl(edges_, EPOLL_CTL_ADD, descriptor_, &change) != 0 ||
      epoll_ctl(edges_, EPOLL_CTL_ADD, stop_event_, &stopped) != 0)
    return fail(Code::kLimit, "the system does not watch another descriptor");
  return {};
}

Readiness::~Readiness() {
  for (const int descriptor : {edges_, stop_event_})
    if (descriptor >= 0) close(descriptor);
}

bool Readiness::becomes_readable() const {
  std::array<pollfd, 2> events{{{descriptor_, POLLIN, 0}, {stop_event_, POLLIN, 0}}};
  return poll(events.data(), events.size(), kLimit_ms) > 0;
}

bool Readiness::changes() const {
  epoll_event event{};
  return epoll_wait(edges_, &event, 1, kLimitInDoubt_ms) > 0;
}

void Readiness::wait(bool ready_already) {
  if (doubts_ < kBelieved) {
    doubts_ = ready_already || becomes_readable() ? doubts_ + 1 : 0;
  } else {
    // Without news it is asked again all the same, once: the next wait shows if it has become
    // quiet.
    doubts_ = changes() ? 0 : kBelieved - 1;
  }
}

void Readiness::stop() noexcept {
  if (stop_event_ >= 0) eventfd_write(stop_event_, 1);
}

}  // namespace mempool::transport
