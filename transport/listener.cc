#include "transport/listener.h"

#include <atomic>
#include <deque>
#include <future>
#include <set>

#include <asio/co_spawn.hpp>
#include <asio/detached.hpp>
#include <asio/dispatch.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/post.hpp>
#include <asio/steady_timer.hpp>
#include <asio/strand.hpp>
#include <asio/thread_pool.hpp>
#include <asio/write.hpp>

#include "transport/accept_loop.h"
#include "transport/close_on_exec.h"
#include "transport/connection.h"
#include "transport/io_thread.h"
#include "transport/stream.h"

namespace mempool::transport {
namespace {

using asio::ip::tcp;

// They mostly wait for the disk; idle ones cost nothing.
constexpr std::size_t kWorkers = 8;
// What frees room or needs none does not wait for those that make some, but for a blob that is just
// being moved, and for sets in parts, which come in order.
constexpr std::size_t kPromptWorkers = 8;
// Files that are checked at once; they share the disk. The lines in which requests for the same
// file wait: two files in one only wait for each other.
constexpr std::size_t kCheckers = 2;
constexpr std::size_t kCheckingLines = 64;
// For peers that are silent, and those that wait for a sign of life.
constexpr auto kSweepEvery = std::chrono::seconds(1);

Error socket_error(const HostPort& where, const asio::error_code& error) {
  const auto code = error == asio::error::address_in_use     ? Code::kExists
                    : error == asio::error::access_denied    ? Code::kPermissionDenied
                    : error == asio::error::invalid_argument ? Code::kInvalidArgument
                                                             : Code::kUnavailable;
  std::string hint;
  if (code == Code::kExists) hint = "; another program listens there: choose another port, or 0";
  return {code, "cannot listen on " + where.to_string() + ": " + error.message() + hint};
}

/// Without memory to find out, none: the answer will be that.
std::optional<std::size_t> file_to_check(SessionHandler& handler, const Request& request) {
  try {
    return handler.file_to_check(request);
  } catch (const std::exception&) {
    return std::nullopt;
  }
}

}  // namespace

class Session;

/// All but the counters and the workers belongs to the I/O thread.
struct Listener::State : std::enable_shared_from_this<Listener::State> {
  explicit State(IoThread& thread)
      : io(thread.context()),
        acceptor(io),
        sweep(io),
        workers(kWorkers),
        prompt_workers(kPromptWorkers),
        checkers(kCheckers) {
    for (std::size_t i = 0; i < kCheckingLines; ++i)
      checking.push_back(asio::make_strand(checkers));
  }

  asio::awaitable<void> accept_one();
  asio::awaitable<void> drop_silent_peers();
  void end();

  asio::io_context& io;
  HostPort where;
  tcp::acceptor acceptor;
  asio::steady_timer sweep;
  asio::thread_pool workers;
  asio::thread_pool prompt_workers;
  asio::thread_pool checkers;
  std::vector<asio::strand<asio::thread_pool::executor_type>> checking;
  Service* service = nullptr;
  std::set<std::shared_ptr<Session>> sessions;
  std::atomic<bool> closed{false};  // workers ask
  std::atomic<std::uint64_t> session_count{0};
  std::atomic<std::uint64_t> served{0};
  std::atomic<std::uint64_t> recency_reports{0};
};

/// One peer's connection on the node's side. Belongs to the I/O thread; requests run on workers and
/// come back as replies.
class Session : public std::enable_shared_from_this<Session> {
 public:
  Session(std::shared_ptr<Listener::State> listener, tcp::socket socket)
      : listener_(std::move(listener)),
        socket_(std::move(socket)),
        room_(listener_->io),
        ordered_(asio::make_strand(listener_->workers)) {}

  asio::awaitable<void> run();
  void close() {
    asio::error_code ignored;
    socket_.close(ignored);
    room_.cancel();
    closed_ = true;
  }
  bool silent(Clock::time_point now) const {
    const auto limit = handler_ ? Listener::kLease_ms : Listener::kHelloTimeout_ms;
    return at_work_ == 0 && now - last_heard_ > std::chrono::milliseconds(limit);
  }
  /// With as many requests under way as may be, or behind payloads that come slowly, no ping is
  /// read and answered meanwhile.
  void show_life() {
    const bool unheard = in_flight_ >= Listener::kMaxInFlight || receives_payload_;
    if (!unheard || !outgoing_.empty()) return;
    Reply nobodys;
    nobodys.id = kNoRequest;
    send({Outgoing(encode(nobodys), {}), nullptr});
  }

 private:
  struct Sending {
    Outgoing frame;
    std::shared_ptr<Reply> held;  // pins the payload until it is sent; null for what is no reply
  };

  asio::awaitable<Status> welcome();
  asio::awaitable<Status> receive_request();
  template <class Make>
  static Sending answer(const Request& request, Make make);
  void dispatch(std::shared_ptr<Request> request);
  void send(Sending sending);
  void write_next();
  void finish();

  std::shared_ptr<Listener::State> listener_;
  tcp::socket socket_;
  asio::steady_timer room_;  // cancelled when a reply was sent
  asio::strand<asio::thread_pool::executor_type> ordered_;
  std::shared_ptr<SessionHandler> handler_;
  std::deque<Sending> outgoing_;  // front is being written
  std::vector<std::byte> scratch_;
  std::size_t at_work_ = 0;    // requests that are being handled
  std::size_t in_flight_ = 0;  // requests whose replies are not sent
  Clock::time_point last_heard_ = Clock::now();
  bool receives_payload_ = false;
  bool closed_ = false;
  bool last_words_ = false;  // nothing more is sent after what is queued
};

// ---- a session ----

asio::awaitable<Status> Session::welcome() {
  // However slowly it comes, it has the time that a hello has.
  auto received = co_await read_frame(socket_, scratch_, NotingProgress{nullptr}, kMaxHelloBytes);
  if (!received) co_return forward_error(std::move(received));
  last_heard_ = Clock::now();
  auto* hello = std::get_if<Hello>(&received->message);
  if (!hello || received->payload_bytes != 0)
    co_return fail(Code::kProtocol, "a session starts with a hello");
  asio::error_code gone;
  const auto from = socket_.remote_endpoint(gone).address().to_string();
  auto accepted = listener_->service->accept(*hello, from);
  if (!accepted) co_return forward_error(std::move(accepted));
  accepted->hello.lease_ms = Listener::kLease_ms;
  handler_ = std::move(accepted->session);
  send({Outgoing(encode(accepted->hello), {}), nullptr});
  co_return Status{};
}

asio::awaitable<Status> Session::receive_request() {
  const NotingProgress progress{&last_heard_};
  auto received = co_await read_frame(socket_, scratch_, progress);
  if (!received) co_return forward_error(std::move(received));
  last_heard_ = Clock::now();
  auto* message = std::get_if<Request>(&received->message);
  if (!message) co_return fail(Code::kProtocol, "only requests may follow the hello");
  auto request = std::make_shared<Request>(std::move(*message));
  request->payload.resize(received->payload_bytes);
  receives_payload_ = true;
  if (auto read = co_await read_exactly(socket_, request->payload, progress); !read) co_return read;
  receives_payload_ = false;
  last_heard_ = Clock::now();
  if (closed_) co_return fail(Code::kUnavailable, "the node is closing");
  dispatch(std::move(request));
  while (in_flight_ >= Listener::kMaxInFlight && !closed_) {
    asio::error_code cancelled;
    room_.expires_at(Clock::time_point::max());
    co_await room_.async_wait(asio::redirect_error(asio::use_awaitable, cancelled));
  }
  co_return Status{};
}

asio::awaitable<void> Session::run() {
  auto self = shared_from_this();
  Status status;
  try {
    status = co_await welcome();
    while (status && !closed_) status = co_await receive_request();
  } catch (const std::exception& failure) {  // out of memory
    status = fail(Code::kLimit, failure.what());
  }
  // Tell a peer that still listens what was wrong; most have just gone.
  if (!closed_ && !status && status.error().code != Code::kUnavailable) {
    send({Outgoing(encode(error_reply(status.error())), {}), nullptr});
    last_words_ = true;
    last_heard_ = Clock::now();  // the sweep bounds how long they may take
  } else {
    close();
  }
  // What the session owned may need the disk to go, and frees room.
  asio::post(listener_->prompt_workers, [handler = std::move(handler_)] {});
  if (closed_) listener_->sessions.erase(self);
}

/// The reply that `make` makes, as a frame. What goes wrong, for want of memory, is this request's
/// trouble alone.
template <class Make>
Session::Sending Session::answer(const Request& request, Make make) {
  auto reply = std::make_shared<Reply>();
  try {
    *reply = make();
    reply->id = request.id;
    return {Outgoing(encode(*reply), reply->payload), reply};
  } catch (const std::exception& failure) {
    *reply =
        error_reply({Code::kLimit, std::string("the node could not serve: ") + failure.what()});
    reply->id = request.id;
    return {Outgoing(encode(*reply), {}), reply};
  }
}

void Session::dispatch(std::shared_ptr<Request> request) {
  ++in_flight_;
  request->received = Clock::now();
  if (request->op == Op::kTouch) {
    ++listener_->recency_reports;
  } else if (request->op != Op::kPing) {
    ++listener_->served;
  }
  if (auto reply = handler_->handle_at_once(*request))
    return send(answer(*request, [&] { return *std::move(reply); }));
  ++at_work_;
  auto work = [self = shared_from_this(), handler = handler_, request] {
    auto sending = answer(*request, [&] {
      if (self->listener_->closed) return Reply{};  // which nobody hears
      return handler->handle(*request);
    });
    request->payload = {};
    asio::post(self->listener_->io, [self, sending = std::move(sending)]() mutable {
      --self->at_work_;
      self->last_heard_ = Clock::now();
      self->send(std::move(sending));
    });
  };
  if (is_ordered(request->op)) {
    asio::post(ordered_, std::move(work));
  } else if (may_check_a_file(request->op)) {
    asio::post(listener_->prompt_workers,
               [state = listener_, handler = handler_, request, work = std::move(work)]() mutable {
                 const auto file = state->closed ? std::nullopt : file_to_check(*handler, *request);
                 if (!file) return work();
                 asio::post(state->checking[*file % kCheckingLines], std::move(work));
               });
  } else if (may_make_room(request->op)) {
    asio::post(listener_->workers, std::move(work));
  } else {
    asio::post(listener_->prompt_workers, std::move(work));
  }
}

void Session::send(Sending sending) {
  if (closed_ || last_words_) return;
  outgoing_.push_back(std::move(sending));
  if (outgoing_.size() == 1) write_next();
}

void Session::finish() {
  close();
  outgoing_.clear();
  listener_->sessions.erase(shared_from_this());
}

void Session::write_next() {
  asio::async_write(socket_, outgoing_.front().frame.buffers(), NotingProgress{&last_heard_},
                    [self = shared_from_this()](const asio::error_code& error, std::size_t) {
                      // It reads its replies; of a sign of life only the system has taken note.
                      if (self->outgoing_.front().held) {
                        --self->in_flight_;
                        self->last_heard_ = Clock::now();
                      }
                      self->room_.cancel();
                      self->outgoing_.pop_front();
                      const bool over = self->last_words_ && self->outgoing_.empty();
                      if (error || self->closed_ || over) return self->finish();
                      if (!self->outgoing_.empty()) self->write_next();
                    });
}

// ---- the listener ----

asio::awaitable<void> Listener::State::accept_one() {
  tcp::socket socket(io);
  co_await acceptor.async_accept(socket, asio::use_awaitable);
  close_on_exec(socket);
  if (closed || session_count.load() >= Listener::kMaxSessions) co_return;  // hangs up
  asio::error_code ignored;
  socket.set_option(tcp::no_delay(true), ignored);
  ++session_count;  // before the session, which takes it back
  auto session = std::shared_ptr<Session>(new Session(shared_from_this(), std::move(socket)),
                                          [state = shared_from_this()](Session* s) {
                                            delete s;
                                            --state->session_count;
                                          });
  sessions.insert(session);
  asio::co_spawn(io, session->run(), asio::detached);
}

asio::awaitable<void> Listener::State::drop_silent_peers() {
  auto self = shared_from_this();
  while (!closed) {
    asio::error_code cancelled;
    sweep.expires_after(kSweepEvery);
    co_await sweep.async_wait(asio::redirect_error(asio::use_awaitable, cancelled));
    const auto now = Clock::now();
    for (const auto& session : sessions) {
      if (session->silent(now)) {
        session->close();
        continue;
      }
      try {
        session->show_life();
      } catch (const std::exception&) {  // out of memory; the next one may go
      }
    }
  }
}

void Listener::State::end() {
  closed = true;
  asio::error_code ignored;
  acceptor.close(ignored);
  sweep.cancel();
  for (const auto& session : sessions) session->close();
}

Result<std::unique_ptr<Listener>> Listener::bind(IoThread& io, const HostPort& where) {
  auto state = std::make_shared<State>(io);
  asio::error_code error;
  const tcp::endpoint endpoint(asio::ip::make_address(where.host, error), where.port);
  if (error) return tl::unexpected(socket_error(where, error));
  state->acceptor.open(endpoint.protocol(), error);
  if (!error) close_on_exec(state->acceptor);
  if (!error) state->acceptor.set_option(tcp::acceptor::reuse_address(true), error);
  if (!error) state->acceptor.bind(endpoint, error);
  if (!error) state->acceptor.listen(tcp::acceptor::max_listen_connections, error);
  if (error) return tl::unexpected(socket_error(where, error));
  state->where = {where.host, state->acceptor.local_endpoint(error).port()};
  return std::unique_ptr<Listener>(new Listener(std::move(state)));
}

Listener::Listener(std::shared_ptr<State> state) noexcept : state_(std::move(state)) {}

Listener::~Listener() {
  close();
}

const HostPort& Listener::where() const noexcept {
  return state_->where;
}

void Listener::serve(Service& service) {
  state_->service = &service;
  asio::co_spawn(state_->io, accept_until_closed(state_), asio::detached);
  asio::co_spawn(state_->io, state_->drop_silent_peers(), asio::detached);
}

void Listener::close() {
  if (std::exchange(closed_, true)) return;
  std::promise<void> closed;
  asio::post(state_->io, [&] {
    state_->end();
    closed.set_value();
  });
  closed.get_future().wait();
  state_->workers.join();
  state_->prompt_workers.join();
  state_->checkers.join();
}

std::uint64_t Listener::sessions() const noexcept {
  return state_->session_count.load();
}
std::uint64_t Listener::requests_served() const noexcept {
  return state_->served.load();
}
std::uint64_t Listener::recency_reports() const noexcept {
  return state_->recency_reports.load();
}

}  // namespace mempool::transport
