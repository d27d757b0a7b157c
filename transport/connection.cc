#include "transport/connection.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>
#include <unordered_map>

#include <asio/co_spawn.hpp>
#include <asio/detached.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/post.hpp>
#include <asio/steady_timer.hpp>
#include <asio/write.hpp>

#include "transport/address.h"
#include "transport/close_on_exec.h"
#include "transport/io_thread.h"
#include "transport/stream.h"

namespace mempool::transport {

using asio::ip::tcp;

namespace {

/// How much longer than its deadline a caller waits for the socket to be done with its memory,
/// before the connection is closed to get it back.
constexpr auto kGrace = std::chrono::milliseconds(1000);

/// Operations that leave something behind which only their reply names.
bool stores(Op op) {
  return op == Op::kSet || op == Op::kSetCommit || op == Op::kAdopt;
}

}  // namespace

/// One request under way. Its memory is touched only by the I/O thread until `done`.
struct Connection::Call::State {
  Outgoing frame{{}, {}};
  std::vector<std::byte> kept;  // a payload that is no caller's
  std::uint64_t id = 0;
  Op op = Op::kPing;
  std::span<std::byte> into;
  std::shared_ptr<Connection::State> connection;

  std::mutex mutex;
  std::condition_variable finished;
  bool done = false;
  // Of the I/O thread:
  bool abandoned = false;              // its caller's deadline passed, and it may be gone
  bool sent = false;                   // the socket is done with the frame
  bool unheard = false;                // nobody waits for the answer
  std::optional<Result<Reply>> early;  // an answer that came before that
  Result<Reply> result = fail(Code::kUnavailable, "not sent");

  /// The answer has come. The caller gets its memory back only when the request has left it.
  void answer(Result<Reply> outcome) {
    if (sent) return finish(std::move(outcome));
    early = std::move(outcome);
  }

  void finish(Result<Reply> outcome) {
    std::lock_guard lock(mutex);
    if (done) return;
    result = std::move(outcome);
    if (!result && abandoned) result.error().code = Code::kTimeout;
    done = true;
    finished.notify_all();
  }
};

/// Everything below `alive` and `peer` belongs to the I/O thread.
struct Connection::State : std::enable_shared_from_this<Connection::State> {
  State(IoThread& thread, std::string where)
      : io(thread.context()), address(std::move(where)), socket(io), pulse(io) {}

  using CallPtr = std::shared_ptr<Call::State>;

  asio::awaitable<Status> open(Hello mine);
  asio::awaitable<Status> reach(tcp::resolver::results_type found);
  asio::awaitable<Status> exchange_hellos(const Hello& mine);
  asio::awaitable<void> receive();
  asio::awaitable<Status> receive_reply(std::vector<std::byte>& scratch);
  void undo(const Reply& reply);
  void tell(Request request);
  asio::awaitable<void> keep_alive();
  void send(const CallPtr& call, Request request, std::span<const std::byte> payload);
  void enqueue(CallPtr call);
  void write_next();
  void abandon(const CallPtr& call);
  void forget_if_abandoned(const CallPtr& sent);
  bool in_use(const CallPtr& call) const;
  Status timeout() const;
  void end(const Error& why, bool peer_gone = true);

  asio::io_context& io;
  const std::string address;
  std::atomic<bool> alive{false};
  Hello peer;
  std::string host;  // as a number

  tcp::socket socket;
  asio::steady_timer pulse;
  std::deque<CallPtr> queue;  // front is being written
  std::unordered_map<std::uint64_t, CallPtr> pending;
  CallPtr receiving;
  std::uint64_t next_id = 1;
  Clock::time_point last_heard{};
  bool ended = false;
  std::stop_source over;  // the peer is gone
  const std::stop_token is_over{over.get_token()};
  std::function<void()> lost;
};

// ---- connecting ----

asio::awaitable<Status> Connection::State::open(Hello mine) {
  auto where = parse_host_port(address);
  if (!where) co_return forward_error(std::move(where));
  asio::error_code error;
  tcp::resolver resolver(io);
  auto endpoints = co_await resolver.async_resolve(
      where->host, std::to_string(where->port), asio::redirect_error(asio::use_awaitable, error));
  if (error)
    co_return fail(Code::kUnavailable, "cannot resolve " + where->host + ": " + reason(error));
  if (auto reached = co_await reach(std::move(endpoints)); !reached) co_return reached;
  socket.set_option(tcp::no_delay(true), error);
  co_return co_await exchange_hellos(mine);
}

/// The first address that answers, as with asio::async_connect: that one opens sockets which a
/// program started while it connects would inherit.
asio::awaitable<Status> Connection::State::reach(tcp::resolver::results_type found) {
  asio::error_code error = asio::error::host_not_found;
  for (const auto& entry : found) {
    if (ended) co_return fail(Code::kTimeout, "gave up");  // this would open the socket again
    asio::error_code ignored;
    socket.close(ignored);
    socket.open(entry.endpoint().protocol(), error);
    if (error) continue;
    close_on_exec(socket);
    co_await socket.async_connect(entry.endpoint(),
                                  asio::redirect_error(asio::use_awaitable, error));
    if (error) continue;
    host = entry.endpoint().address().to_string();
    co_return Status{};
  }
  co_return fail(Code::kUnavailable, "cannot connect to " + address + ": " + reason(error) +
                                         "; is a node running there?");
}

asio::awaitable<Status> Connection::State::exchange_hellos(const Hello& mine) {
  const Outgoing frame(encode(mine), {});
  asio::error_code error;
  co_await asio::async_write(socket, frame.buffers(),
                             asio::redirect_error(asio::use_awaitable, error));
  if (error)
    co_return fail(Code::kUnavailable, address + " hung up in the hello: " + reason(error));
  std::vector<std::byte> scratch;
  auto received = co_await read_frame(socket, scratch, NotingProgress{nullptr});
  if (!received) co_return fail(received.error().code, address + ": " + received.error().message);
  if (auto* refused = std::get_if<Reply>(&received->message))
    co_return fail(refused->code == Code::kOk ? Code::kProtocol : refused->code,
                   address + " refused: " + refused->message);
  auto* hello = std::get_if<Hello>(&received->message);
  if (!hello || received->payload_bytes != 0)
    co_return fail(Code::kProtocol, address + " did not answer with a hello");
  peer = std::move(*hello);
  co_return Status{};
}

Result<std::shared_ptr<Connection>> Connection::connect(IoThread& io, const std::string& host_port,
                                                        const Hello& mine,
                                                        Clock::time_point deadline,
                                                        std::function<void()> lost) {
  struct Opening {
    std::mutex mutex;
    std::condition_variable finished;
    std::optional<Status> status;
  };
  auto opening = std::make_shared<Opening>();
  auto state = std::make_shared<State>(io, host_port);
  state->lost = std::move(lost);
  auto work = [](std::shared_ptr<State> s, Hello hello,
                 std::shared_ptr<Opening> o) -> asio::awaitable<void> {
    Status status = co_await s->open(std::move(hello));
    if (status && !s->ended) {
      s->alive = true;
      s->last_heard = Clock::now();
      asio::co_spawn(s->io, s->receive(), asio::detached);
      asio::co_spawn(s->io, s->keep_alive(), asio::detached);
    }
    std::lock_guard lock(o->mutex);
    o->status = std::move(status);
    o->finished.notify_all();
  };
  asio::co_spawn(io.context(), work(state, mine, opening), asio::detached);

  std::unique_lock lock(opening->mutex);
  if (!opening->finished.wait_until(lock, deadline, [&] { return opening->status.has_value(); })) {
    lock.unlock();
    asio::post(io.context(), [state] { state->end({Code::kTimeout, "gave up connecting"}); });
    return fail(Code::kTimeout, host_port + " did not answer in time");
  }
  if (!*opening->status) return forward_error(std::move(*opening->status));
  return std::shared_ptr<Connection>(new Connection(std::move(state)));
}

// ---- receiving ----

asio::awaitable<Status> Connection::State::receive_reply(std::vector<std::byte>& scratch) {
  const NotingProgress progress{&last_heard};
  auto received = co_await read_frame(socket, scratch, progress);
  if (!received) co_return forward_error(std::move(received));
  last_heard = Clock::now();
  auto* reply = std::get_if<Reply>(&received->message);
  if (!reply) co_return fail(Code::kProtocol, "the peer sent something else than a reply");
  // The peer's last words, which answer no request.
  if (reply->id == 0) co_return fail(reply->code, address + ": " + reply->message);
  reply->payload_bytes = received->payload_bytes;
  CallPtr call;
  if (auto found = pending.extract(reply->id)) call = std::move(found.mapped());
  if (received->payload_bytes > 0) {
    // A reply whose caller gave up still has to be drained.
    std::vector<std::byte> drain;
    std::span<std::byte> into;
    if (call) {
      into = call->into;
    } else {
      drain.resize(received->payload_bytes);
      into = drain;
    }
    if (into.size() < received->payload_bytes) {
      if (call) call->answer(fail(Code::kProtocol, "the peer sent more than was asked for"));
      co_return fail(Code::kProtocol, "the peer sent more than was asked for");
    }
    receiving = call;
    auto read = co_await read_exactly(socket, into.first(received->payload_bytes), progress);
    receiving = nullptr;
    if (!read) {
      if (call) call->answer(tl::unexpected(read.error()));
      co_return read;
    }
    last_heard = Clock::now();
  }
  if (!call) co_return Status{};
  if (call->abandoned && reply->code == Code::kOk && stores(call->op)) undo(*reply);
  if (reply->code == Code::kOk) {
    call->answer(std::move(*reply));
  } else {
    call->answer(fail(reply->code, std::move(reply->message)));
  }
  co_return Status{};
}

/// A blob was stored after its caller had been told that it was not.
void Connection::State::undo(const Reply& reply) {
  tell({.op = Op::kDelete, .blob = reply.ref.id});
}

asio::awaitable<void> Connection::State::receive() {
  auto self = shared_from_this();
  std::vector<std::byte> scratch;
  Status status;
  while (status) {
    try {
      status = co_await receive_reply(scratch);
    } catch (const std::exception& failure) {  // out of memory
      status = fail(Code::kLimit, failure.what());
      if (const auto call = std::exchange(receiving, nullptr))
        call->answer(fail(Code::kLimit, failure.what()));
    }
  }
  end(status.error());
}

/// Only what comes counts. What goes would not tell that the peer lives: the system takes it for
/// one that stands still; and while a payload goes slowly, the peer sends signs of life.
asio::awaitable<void> Connection::State::keep_alive() {
  auto self = shared_from_this();
  const auto lease = std::chrono::milliseconds(std::clamp(peer.lease_ms, 300U, 3'600'000U));
  while (!ended) {
    asio::error_code error;
    pulse.expires_after(lease / 3);
    co_await pulse.async_wait(asio::redirect_error(asio::use_awaitable, error));
    if (ended) co_return;
    const auto silence = Clock::now() - last_heard;
    if (silence > lease) {
      end({Code::kUnavailable, address + " has not answered for its whole lease"});
      co_return;
    }
    try {
      tell({});
    } catch (const std::exception&) {  // out of memory; the next one may go
    }
  }
}

/// A request whose answer nobody waits for.
void Connection::State::tell(Request request) {
  auto call = std::make_shared<Call::State>();
  call->unheard = true;
  call->id = request.id = next_id++;
  call->frame = Outgoing(encode(request), {});
  enqueue(std::move(call));
}

// ---- sending ----

void Connection::State::enqueue(CallPtr call) {
  if (ended) {
    call->finish(fail(Code::kUnavailable, "the connection to " + address + " is closed"));
    return;
  }
  pending.emplace(call->id, call);
  queue.push_back(std::move(call));
  if (queue.size() == 1) write_next();
}

void Connection::State::write_next() {
  asio::async_write(socket, queue.front()->frame.buffers(),
                    [self = shared_from_this()](const asio::error_code& error, std::size_t) {
                      auto sent = std::move(self->queue.front());
                      self->queue.pop_front();
                      if (error) self->end({Code::kUnavailable, reason(error)});
                      if (self->ended) {
                        const auto gone = "the connection to " + self->address + " ended";
                        sent->finish(fail(Code::kUnavailable, gone));
                        for (const auto& call : std::exchange(self->queue, {}))
                          call->finish(fail(Code::kUnavailable, gone));
                        return;
                      }
                      sent->sent = true;
                      if (sent->early) sent->finish(std::move(*sent->early));
                      self->forget_if_abandoned(sent);
                      if (sent->unheard) self->pending.erase(sent->id);
                      if (!self->queue.empty()) self->write_next();
                    });
}

Status Connection::State::timeout() const {
  return fail(Code::kTimeout, "no answer from " + address + " in time");
}

/// The socket reads from or writes to the caller's memory.
bool Connection::State::in_use(const CallPtr& call) const {
  return receiving == call || (!queue.empty() && queue.front() == call);
}

/// A caller gave up. Memory that the socket is using comes back when it is done with it: very soon,
/// or only with the socket.
void Connection::State::abandon(const CallPtr& call) {
  call->abandoned = true;
  if (in_use(call)) {
    auto grace = std::make_shared<asio::steady_timer>(io, kGrace);
    grace->async_wait([self = shared_from_this(), call, grace](const asio::error_code&) {
      if (!self->in_use(call)) return;
      const auto why = "the connection to " + self->address + " stood still and was closed";
      self->end({Code::kUnavailable, why}, /*peer_gone=*/false);
    });
    return;
  }
  // What it stores and was sent is remembered until the answer comes.
  if (!call->sent || !stores(call->op)) pending.erase(call->id);
  std::erase(queue, call);
  call->finish(forward_error(timeout()));
}

/// The socket is done with the frame. A payload that is being received still goes to the caller's
/// memory; one that comes later must not, so the answer finds no call, but for what it would name.
void Connection::State::forget_if_abandoned(const CallPtr& sent) {
  if (!sent->abandoned || receiving == sent) return;
  if (!stores(sent->op)) pending.erase(sent->id);
  sent->finish(forward_error(timeout()));
}

/// One-sided reads go on when only this connection stands still.
void Connection::State::end(const Error& why, bool peer_gone) {
  if (ended) return;
  ended = true;
  const bool was_alive = alive.exchange(false);
  asio::error_code ignored;
  socket.close(ignored);
  pulse.cancel();
  // A call whose memory a socket operation still holds is finished by that operation's handler,
  // with all others in the queue.
  for (auto& [id, call] : std::exchange(pending, {}))
    if (queue.empty() || queue.front() != call)
      call->finish(tl::unexpected<Error>(Error{why.code, why.message}));
  if (peer_gone) over.request_stop();
  if (was_alive && lost) lost();
  lost = nullptr;
}

// ---- the caller's side ----

Connection::Connection(std::shared_ptr<State> state) noexcept : state_(std::move(state)) {}

Connection::~Connection() {
  close();
}

const std::string& Connection::host() const noexcept {
  return state_->host;
}

const Hello& Connection::peer() const noexcept {
  return state_->peer;
}

bool Connection::alive() const noexcept {
  return state_->alive.load(std::memory_order_relaxed);
}

const std::stop_token& Connection::ended() const noexcept {
  return state_->is_over;
}

void Connection::close() noexcept {
  asio::post(state_->io, [state = state_] {
    state->end({Code::kClosed, "the connection was closed"}, /*peer_gone=*/false);
  });
}

/// On the I/O thread.
void Connection::State::send(const CallPtr& call, Request request,
                             std::span<const std::byte> payload) {
  call->id = request.id = next_id++;
  call->op = request.op;
  if (auto fits = check(request); !fits) return call->finish(forward_error(std::move(fits)));
  try {
    call->frame = Outgoing(encode(request), payload);
    enqueue(call);
  } catch (const std::exception& failure) {  // out of memory
    call->finish(fail(Code::kLimit, failure.what()));
  }
}

Connection::Call Connection::start(Request request, std::span<const std::byte> payload,
                                   std::span<std::byte> into) {
  auto call = std::make_shared<Call::State>();
  call->connection = state_;
  call->into = into;
  asio::post(state_->io, [call, payload, request = std::move(request)]() mutable {
    call->connection->send(call, std::move(request), payload);
  });
  return Call(std::move(call));
}

void Connection::tell(Request request, std::vector<std::byte> payload) {
  auto call = std::make_shared<Call::State>();
  call->connection = state_;
  call->unheard = true;
  call->kept = std::move(payload);
  asio::post(state_->io, [call, request = std::move(request)]() mutable {
    call->connection->send(call, std::move(request), call->kept);
  });
}

Result<Reply> Connection::Call::wait(Clock::time_point deadline) {
  std::unique_lock lock(state_->mutex);
  if (!state_->finished.wait_until(lock, deadline, [&] { return state_->done; })) {
    lock.unlock();
    asio::post(state_->connection->io, [call = state_] { call->connection->abandon(call); });
    lock.lock();
    state_->finished.wait(lock, [&] { return state_->done; });
  }
  return std::move(state_->result);
}

}  // namespace mempool::transport
