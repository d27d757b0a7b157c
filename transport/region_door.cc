#include "transport/region_door.h"

#include <array>
#include <cstring>
#include <future>
#include <mutex>
#include <set>
#include <span>
#include <utility>

#include <asio/co_spawn.hpp>
#include <asio/detached.hpp>
#include <asio/local/stream_protocol.hpp>
#include <asio/post.hpp>
#include <asio/read.hpp>
#include <asio/redirect_error.hpp>
#include <asio/steady_timer.hpp>
#include <asio/use_awaitable.hpp>
#include <sys/random.h>
#include <sys/socket.h>

#include "transport/accept_loop.h"
#include "transport/close_on_exec.h"
#include "transport/io_thread.h"
#include "transport/log.h"

namespace mempool::transport {
namespace {

using asio::local::stream_protocol;

constexpr auto kRequestTimeout = std::chrono::seconds(5);

Result<std::string> unguessable_name() {
  std::array<std::uint64_t, 2> random{};
  if (getrandom(random.data(), sizeof random, 0) != sizeof random)
    return fail(Code::kIo, "the system gives no random numbers");
  char text[48];
  std::snprintf(text, sizeof text, "mempool-%016llx%016llx",
                static_cast<unsigned long long>(random[0]),
                static_cast<unsigned long long>(random[1]));
  return std::string(text);
}

/// The reply and its descriptors in one message. A fresh socket has room for it: it never waits.
bool send_descriptors(int socket, const HandoverReply& reply, std::span<const int> descriptors) {
  iovec bytes{const_cast<HandoverReply*>(&reply), sizeof reply};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int) * (1 + kMaxRegionsHandedOver))>
      control{};
  msghdr message{};
  message.msg_iov = &bytes;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = CMSG_SPACE(descriptors.size_bytes());
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(descriptors.size_bytes());
  std::memcpy(CMSG_DATA(header), descriptors.data(), descriptors.size_bytes());
  return sendmsg(socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT) ==
         static_cast<ssize_t>(sizeof reply);
}

}  // namespace

/// All but `sessions` belongs to the I/O thread.
struct RegionDoor::State : std::enable_shared_from_this<RegionDoor::State> {
  /// One attached reader; the page goes with it.
  struct Reader {
    explicit Reader(stream_protocol::socket accepted, asio::io_context& io)
        : socket(std::move(accepted)), timer(io) {}
    stream_protocol::socket socket;
    asio::steady_timer timer;  // for the request
    std::unique_ptr<HazardPages::Page> page;
  };

  State(IoThread& thread, std::vector<int> region_descriptors, HazardPages& hazard_pages)
      : io(thread.context()),
        regions(std::move(region_descriptors)),
        pages(hazard_pages),
        acceptor(io) {}

  asio::awaitable<void> accept_one();
  asio::awaitable<void> serve(std::shared_ptr<Reader> reader);
  asio::awaitable<bool> let_in(std::shared_ptr<Reader> reader);
  /// Once for each session.
  bool admitted(const SessionId& session) {
    std::lock_guard lock(mutex);
    return sessions.erase(session) == 1;
  }
  void end();

  asio::io_context& io;
  const std::vector<int> regions;
  HazardPages& pages;
  std::string name;
  stream_protocol::acceptor acceptor;
  std::set<std::shared_ptr<Reader>> readers;
  bool closed = false;

  std::mutex mutex;
  std::set<SessionId> sessions;
};

asio::awaitable<void> RegionDoor::State::accept_one() {
  stream_protocol::socket socket(io);
  co_await acceptor.async_accept(socket, asio::use_awaitable);
  close_on_exec(socket);
  if (closed || readers.size() >= kMaxReaders) co_return;  // hangs up
  auto reader = std::make_shared<Reader>(std::move(socket), io);
  readers.insert(reader);
  asio::co_spawn(io, serve(reader), asio::detached);
}

/// The request is answered; false: the reader is not let in.
asio::awaitable<bool> RegionDoor::State::let_in(std::shared_ptr<Reader> reader) {
  HandoverRequest request;
  asio::error_code error;
  reader->timer.expires_after(kRequestTimeout);
  reader->timer.async_wait([reader](const asio::error_code& cancelled) {
    asio::error_code ignored;
    // It may be late: who is in stays, whatever the timer had to say.
    if (!cancelled && !reader->page) reader->socket.close(ignored);
  });
  co_await asio::async_read(reader->socket, asio::buffer(&request, sizeof request),
                            asio::redirect_error(asio::use_awaitable, error));
  reader->timer.cancel();
  if (error || request.magic != HandoverRequest::kMagic || !admitted(request.session))
    co_return false;
  auto page = pages.make_page();
  if (!page) {
    log().warn("a reader on this host is not let in: {}", page.error().to_string());
    co_return false;
  }
  reader->page = std::move(*page);
  std::vector<int> descriptors{reader->page->descriptor()};
  descriptors.insert(descriptors.end(), regions.begin(), regions.end());
  const HandoverReply reply{.regions = static_cast<std::uint32_t>(regions.size()),
                            .slots = kHazardSlots};
  co_return send_descriptors(reader->socket.native_handle(), reply, descriptors);
}

asio::awaitable<void> RegionDoor::State::serve(std::shared_ptr<Reader> reader) {
  auto self = shared_from_this();
  if (co_await let_in(reader)) {
    // Silent from now on: what ends the wait is the reader's end, or a word, which it may not say.
    char word = 0;
    asio::error_code ended;
    co_await asio::async_read(reader->socket, asio::buffer(&word, 1),
                              asio::redirect_error(asio::use_awaitable, ended));
  }
  readers.erase(reader);
}

void RegionDoor::State::end() {
  closed = true;
  asio::error_code ignored;
  acceptor.close(ignored);
  for (const auto& reader : readers) {
    reader->timer.cancel();
    reader->socket.close(ignored);
  }
}

Result<std::unique_ptr<RegionDoor>> RegionDoor::open(IoThread& io, std::vector<int> regions,
                                                     HazardPages& pages) {
  if (regions.size() > kMaxRegionsHandedOver)
    return fail(Code::kLimit, "too many regions to hand over");
  auto name = unguessable_name();
  if (!name) return forward_error(std::move(name));
  auto state = std::make_shared<State>(io, std::move(regions), pages);
  state->name = *name;
  const stream_protocol::endpoint endpoint(abstract_address(*name));
  asio::error_code error;
  state->acceptor.open(endpoint.protocol(), error);
  if (!error) close_on_exec(state->acceptor);
  if (!error) state->acceptor.bind(endpoint, error);
  if (!error) state->acceptor.listen(stream_protocol::acceptor::max_listen_connections, error);
  if (error) return fail(Code::kIo, "no socket for readers on this host: " + error.message());
  asio::co_spawn(io.context(), accept_until_closed(state), asio::detached);
  return std::unique_ptr<RegionDoor>(new RegionDoor(std::move(state)));
}

RegionDoor::RegionDoor(std::shared_ptr<State> state) noexcept : state_(std::move(state)) {}

RegionDoor::~RegionDoor() {
  close();
}

const std::string& RegionDoor::name() const noexcept {
  return state_->name;
}

void RegionDoor::admit(const SessionId& session) {
  std::lock_guard lock(state_->mutex);
  state_->sessions.insert(session);
}

void RegionDoor::dismiss(const SessionId& session) {
  std::lock_guard lock(state_->mutex);
  state_->sessions.erase(session);
}

void RegionDoor::close() {
  if (std::exchange(closed_, true)) return;
  std::promise<void> closed;
  asio::post(state_->io, [&] {
    state_->end();
    closed.set_value();
  });
  closed.get_future().wait();
}

}  // namespace mempool::transport
