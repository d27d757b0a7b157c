#include "transport/fabric.h"

#include <algorithm>
#include <array>
#include <bit>
#include <condition_variable>
#include <cstring>
#include <mutex>
#include <thread>

#include <rdma/fi_cm.h>
#include <rdma/fi_domain.h>
#include <rdma/fi_endpoint.h>
#include <rdma/fi_errno.h>
#include <rdma/fi_rma.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "transport/fabric_info.h"
#include "transport/log.h"
#include "transport/memory_lock.h"
#include "transport/readiness.h"

namespace mempool::transport {

using Clock = std::chrono::steady_clock;
using namespace std::chrono_literals;

constexpr std::size_t kWindow = 16;  // reads of one call in flight

/// The reads of one call. Recycled, never freed before the fabric, so that a late completion always
/// finds it.
struct Flight {
  // Bits of `word`: one per read in flight, and who looks at the flight.
  static constexpr std::uint32_t kBusy = (1U << kWindow) - 1;
  static constexpr std::uint32_t kWaiter = 1U << 31;   // its caller has not left yet
  static constexpr std::uint32_t kBlocked = 1U << 30;  // and sleeps on `wake`

  struct Read {
    fi_context2 context;  // first: libfabric hands its address back
    Flight* flight;
    std::uint32_t bit;
  };

  // What is to be read, and how far that is.
  RemoteRange from;
  Buffer buffer;
  void* descriptor = nullptr;
  std::size_t at = 0;
  std::size_t bytes = 0;
  std::size_t posted = 0;
  std::string refused;  // why no more of it is posted

  std::array<Read, kWindow> reads;
  std::atomic<std::uint32_t> word{0};
  std::atomic<int> error{0};  // first one, as a positive libfabric errno
  std::mutex mutex;
  std::condition_variable wake;
  Flight* next_free = nullptr;

  /// Nothing of it is in flight, and nothing more will be.
  bool is_over() const {
    if ((word.load() & kBusy) != 0) return false;
    return posted == bytes || !refused.empty() || error.load();
  }
};

namespace {

constexpr std::size_t kCompletionsPerPoll = 16;

/// Of what drain() returns: there were completions, or that of a read that failed.
bool found(ssize_t count) {
  return count > 0 || count == -FI_EAVAIL;
}

std::string fi_reason(std::int64_t status) {
  return fi_strerror(static_cast<int>(-status));
}

/// Registering locks memory; who may lock all of it is short of something else.
tl::unexpected<Error> no_memory_registered(const std::string& what, const Provider& provider) {
  struct rlimit limit {};
  const bool unlimited = getrlimit(RLIMIT_MEMLOCK, &limit) == 0 && limit.rlim_cur == RLIM_INFINITY;
  const auto whose = what + " for " + std::string(provider.name) + ": ";
  if (unlimited)
    return fail(Code::kLimit, "cannot register " + whose +
                                  "the system or the adapter has no memory for it, and no "
                                  "memory-lock limit is in the way: lower max_memsize");
  return fail(Code::kLimit, "cannot lock " + whose +
                                "raise the memory-lock limit (ulimit -l unlimited, or "
                                "LimitMEMLOCK=infinity in the service) or lower max_memsize");
}

class OpenMemoryRegion final : public MemoryRegion {
 public:
  OpenMemoryRegion(Fid<fid_mr> mr, std::uint64_t base) : mr_(std::move(mr)) {
    key_ = fi_mr_key(mr_.get());
    base_ = base;
    descriptor_ = fi_mr_desc(mr_.get());
  }

 private:
  Fid<fid_mr> mr_;
};

class OpenFabric final : public Fabric {
 public:
  explicit OpenFabric(const Provider& provider) : provider_(provider) {}
  ~OpenFabric() override;

  Status open(const std::string& host, FabricUse use);

  const Provider& provider() const noexcept override { return provider_; }
  std::vector<std::byte> address() const override { return address_; }
  Result<std::unique_ptr<MemoryRegion>> expose(std::span<std::byte> memory) override {
    serves_ = true;
    return register_memory(memory, FI_REMOTE_READ);
  }
  Result<FabricAddress> insert(std::span<const std::byte> peer_address) override;
  void remove(FabricAddress peer) noexcept override;
  PendingRead start(const RemoteRange& from, const Buffer& into, std::size_t at,
                    std::size_t bytes) override;

 private:
  Status finish(Flight* flight, Clock::duration timeout, const std::stop_token& ended) override;
  void leave(Flight* flight) noexcept override;
  bool post(Flight& flight);
  Status await_end(Flight* flight, Clock::duration timeout, const std::stop_token& ended);
  Status open_completion_queue();
  bool reads_end();
  void leave_open();
  Result<std::unique_ptr<MemoryRegion>> register_memory(std::span<std::byte> memory,
                                                        std::uint64_t access);
  Result<void*> local_descriptor(const Buffer& buffer);

  Flight* take_flight(const Buffer& buffer);
  Flight* free_flight();
  void recycle(Flight* flight) noexcept;
  void complete(void* context, int error) noexcept;
  ssize_t drain() noexcept;
  void unblock(Flight* flight) noexcept;
  void note_poll() noexcept;
  void poll_once() noexcept;
  void handle(ssize_t count, const fi_cq_entry* entries) noexcept;
  std::chrono::microseconds polling_time(std::size_t bytes) const;
  void await_change(Flight* flight, std::uint32_t seen, Clock::time_point deadline,
                    const std::stop_token& ended);
  void make_progress();
  bool someone_polls();

  const Provider& provider_;
  const unsigned forks_ = current_forks();
  FiInfo info_;
  Fid<fid_fabric> fabric_;
  Fid<fid_domain> domain_;
  Fid<fid_av> av_;
  Fid<fid_cq> cq_;
  Fid<fid_ep> endpoint_;
  fi_wait_obj wait_object_ = FI_WAIT_NONE;
  std::vector<std::byte> address_;

  std::atomic<Flight*> idle_flight_{nullptr};  // one that is taken and given back without the mutex
  std::mutex flights_mutex_;                   // of what follows
  std::vector<std::unique_ptr<Flight>> flights_;
  std::atomic<std::size_t> flights_made_{0};
  Flight* free_flights_ = nullptr;  // the other idle ones

  // Who makes progress: callers that poll while there are any, else the thread.
  std::atomic<std::uint32_t> sleepers_{0};  // callers that gave up polling
  std::atomic<std::uint64_t> polls_{0};     // changes while somebody polls
  std::uint64_t polls_seen_ = 0;            // the thread's
  std::atomic<bool> serves_{false};         // peers may read from here at any time
  std::mutex progress_mutex_;
  std::condition_variable progress_wake_;
  std::atomic<bool> stopping_{false};
  Readiness
      readiness_;  // of the queue; what it sleeps in, as fi_cq_signal does not wake everywhere
  std::thread thread_;
};

// ---- opening and closing ----

Status OpenFabric::open(const std::string& host, FabricUse use) {
  const std::string name(provider_.name);
  const auto failed = [&](const char* call, int status) {
    if (provider_.rdma && status == -FI_ENOMEM)
      return no_memory_registered("the provider's own buffers", provider_);
    return fail(Code::kNoProvider,
                "provider " + name + " cannot be used: " + call + ": " + fi_reason(status));
  };
  info_ = query_provider(provider_, host, use);
  if (!info_)
    return fail(
        Code::kNoProvider,
        "provider " + name + " has nothing to offer for " + (host.empty() ? "this machine" : host) +
            (provider_.rdma ? ": no RDMA device that is up and has shared receive queues has or "
                              "reaches that address"
                            : ""));
  if (lock_error(provider_.locks_bytes) != 0)
    return no_memory_registered("the provider's own buffers", provider_);
  fid_fabric* fabric = nullptr;
  if (int s = fi_fabric(info_->fabric_attr, &fabric, nullptr)) return failed("fi_fabric", s);
  fabric_.reset(fabric);
  fid_domain* domain = nullptr;
  if (int s = fi_domain(fabric, info_.get(), &domain, nullptr)) return failed("fi_domain", s);
  domain_.reset(domain);
  fi_av_attr av_attr{};
  av_attr.type = FI_AV_UNSPEC;
  fid_av* av = nullptr;
  if (int s = fi_av_open(domain, &av_attr, &av, nullptr)) return failed("fi_av_open", s);
  av_.reset(av);
  if (auto opened = open_completion_queue(); !opened) return opened;
  fid_ep* endpoint = nullptr;
  if (int s = fi_endpoint(domain, info_.get(), &endpoint, nullptr)) return failed("fi_endpoint", s);
  endpoint_.reset(endpoint);
  if (int s = fi_ep_bind(endpoint, &av->fid, 0)) return failed("fi_ep_bind", s);
  if (int s = fi_ep_bind(endpoint, &cq_->fid, FI_TRANSMIT | FI_RECV))
    return failed("fi_ep_bind", s);
  if (int s = fi_enable(endpoint)) return failed("fi_enable", s);
  std::size_t bytes = 0;
  fi_getname(&endpoint->fid, nullptr, &bytes);
  address_.resize(bytes);
  if (int s = fi_getname(&endpoint->fid, address_.data(), &bytes)) return failed("fi_getname", s);
  thread_ = std::thread([this] { make_progress(); });
  return {};
}

/// Waiting on a descriptor; a provider without one is polled with pauses. Not FI_WAIT_UNSPEC: shm
/// then yields in a loop, which keeps a core busy and ignores the time limit.
Status OpenFabric::open_completion_queue() {
  int status = 0;
  for (fi_wait_obj object : {FI_WAIT_FD, FI_WAIT_NONE}) {
    fi_cq_attr attr{};
    attr.size = 256;
    attr.format = FI_CQ_FORMAT_CONTEXT;
    attr.wait_obj = object;
    fid_cq* cq = nullptr;
    status = fi_cq_open(domain_.get(), &attr, &cq, nullptr);
    if (status) continue;
    int descriptor = -1;
    if (object == FI_WAIT_FD) status = fi_control(&cq->fid, FI_GETWAIT, &descriptor);
    cq_.reset(cq);
    if (status) continue;
    wait_object_ = object;
    return object == FI_WAIT_FD ? readiness_.open(descriptor) : Status();
  }
  return fail(Code::kNoProvider, "provider " + std::string(provider_.name) +
                                     " cannot be used: fi_cq_open: " + fi_reason(status));
}

OpenFabric::~OpenFabric() {
  stopping_ = true;
  if (thread_.joinable()) {
    {
      std::lock_guard lock(progress_mutex_);
      progress_wake_.notify_all();
    }
    readiness_.stop();
    thread_.join();
  }
  if (reads_end()) {
    endpoint_.reset();  // the members follow, children before parents
  } else {
    leave_open();
  }
}

/// Waits for reads whose callers have left; nobody else polls any more. rxm of libfabric 1.17
/// crashes when an endpoint closes with reads in flight.
bool OpenFabric::reads_end() {
  constexpr auto kPatience = 2s;
  const auto busy = [this] {
    return std::ranges::any_of(flights_, [](const auto& flight) { return flight->word != 0; });
  };
  const auto until = Clock::now() + kPatience;
  while (endpoint_ && busy()) {
    if (Clock::now() >= until) return false;
    if (drain() <= 0) std::this_thread::sleep_for(100us);
  }
  return true;
}

/// A peer that neither answers nor hangs up: its reads' memory stays the fabric's until the process
/// ends.
void OpenFabric::leave_open() {
  log().debug("{} is left open: reads are still in flight", provider_.name);
  for (auto& flight : flights_) (void)flight.release();
  (void)endpoint_.release();
  (void)cq_.release();
  (void)av_.release();
  (void)domain_.release();
  (void)fabric_.release();
  (void)info_.release();
}

// ---- memory and addresses ----

Result<std::unique_ptr<MemoryRegion>> OpenFabric::register_memory(std::span<std::byte> memory,
                                                                  std::uint64_t access) {
  // Keys are unguessable where we may choose them: only who was told may read.
  std::uint64_t key = 0;
  if (!(info_->domain_attr->mr_mode & FI_MR_PROV_KEY)) {
    if (getrandom(&key, sizeof key, 0) != sizeof key)
      return fail(Code::kIo, "the system gives no random numbers");
    if (const auto bytes = info_->domain_attr->mr_key_size; bytes < sizeof key)
      key &= (std::uint64_t{1} << (8 * bytes)) - 1;
  }
  fid_mr* mr = nullptr;
  const int status =
      fi_mr_reg(domain_.get(), memory.data(), memory.size(), access, 0, key, 0, &mr, nullptr);
  if (status == -FI_ENOMEM)
    return no_memory_registered(std::to_string(memory.size()) + " bytes", provider_);
  if (status)
    return fail(Code::kNoProvider, "provider " + std::string(provider_.name) +
                                       " cannot register memory: " + fi_reason(status));
  log().debug("{}: {} bytes are registered", provider_.name, memory.size());
  const bool by_address = info_->domain_attr->mr_mode & FI_MR_VIRT_ADDR;
  return std::make_unique<OpenMemoryRegion>(
      Fid<fid_mr>(mr), by_address ? reinterpret_cast<std::uint64_t>(memory.data()) : 0);
}

/// Null where the provider needs no local registration; else made once and kept with the block.
Result<void*> OpenFabric::local_descriptor(const Buffer& buffer) {
  if (!(info_->domain_attr->mr_mode & FI_MR_LOCAL)) return nullptr;
  BufferBlock* block = buffer.block();
  if (block->registered_with != this) {
    auto region = register_memory({block->data, block->capacity_bytes}, FI_READ);
    if (!region) return forward_error(std::move(region));
    block->registered = std::shared_ptr<MemoryRegion>(std::move(*region));
    block->registered_with = this;
  }
  return std::static_pointer_cast<MemoryRegion>(block->registered)->descriptor();
}

Result<FabricAddress> OpenFabric::insert(std::span<const std::byte> peer_address) {
  // Providers read what the address family says, or up to a terminating zero: a malformed address
  // would make them read past its end.
  const bool text = info_->addr_format == FI_ADDR_STR;
  const bool well_formed =
      text ? !peer_address.empty() && peer_address.back() == std::byte{0}
           : peer_address.size() == address_.size() &&
                 std::memcmp(peer_address.data(), address_.data(), sizeof(sa_family_t)) == 0;
  if (!well_formed) return fail(Code::kProtocol, "the peer announced a malformed fabric address");
  fi_addr_t address = FI_ADDR_UNSPEC;
  const int inserted = fi_av_insert(av_.get(), peer_address.data(), 1, &address, 0, nullptr);
  if (inserted != 1)
    return fail(Code::kProtocol,
                "provider " + std::string(provider_.name) + " does not take the peer's address");
  return address;
}

void OpenFabric::remove(FabricAddress peer) noexcept {
  fi_addr_t address = peer;
  fi_av_remove(av_.get(), &address, 1, 0);
}

// ---- reading ----

Flight* OpenFabric::free_flight() {
  std::lock_guard lock(flights_mutex_);
  if (Flight* flight = free_flights_) {
    free_flights_ = flight->next_free;
    return flight;
  }
  flights_.push_back(std::make_unique<Flight>());
  Flight* flight = flights_.back().get();
  for (std::uint32_t i = 0; i < kWindow; ++i) flight->reads[i] = {{}, flight, 1U << i};
  flights_made_.store(flights_.size(), std::memory_order_release);
  return flight;
}

Flight* OpenFabric::take_flight(const Buffer& buffer) {
  Flight* flight = idle_flight_.exchange(nullptr, std::memory_order_acquire);
  if (!flight) flight = free_flight();
  flight->buffer = buffer;
  flight->error.store(0, std::memory_order_relaxed);
  flight->word.store(Flight::kWaiter, std::memory_order_relaxed);
  return flight;
}

void OpenFabric::recycle(Flight* flight) noexcept {
  flight->buffer = Buffer();
  Flight* none = nullptr;
  if (idle_flight_.compare_exchange_strong(none, flight, std::memory_order_release)) return;
  std::lock_guard lock(flights_mutex_);
  flight->next_free = free_flights_;
  free_flights_ = flight;
}

void OpenFabric::leave(Flight* flight) noexcept {
  if (current_forks() != forks_) return;  // a child: the read is its parent's
  const auto before = flight->word.fetch_and(~(Flight::kWaiter | Flight::kBlocked));
  if ((before & Flight::kBusy) == 0) recycle(flight);
}

inline void OpenFabric::complete(void* context, int error) noexcept {
  auto* read = static_cast<Flight::Read*>(context);
  if (!read) return;
  Flight* flight = read->flight;
  if (error) flight->error.store(error);
  const auto before = flight->word.fetch_and(~read->bit);
  if ((before & ~read->bit) == 0) return recycle(flight);
  if (!(before & Flight::kBlocked)) return;
  std::lock_guard lock(flight->mutex);
  unblock(flight);
  note_poll();
  flight->wake.notify_all();
}

/// Of a flight whose mutex is held. From here on, not when its caller runs again, nobody waits for
/// the thread.
void OpenFabric::unblock(Flight* flight) noexcept {
  if (flight->word.fetch_and(~Flight::kBlocked) & Flight::kBlocked) sleepers_.fetch_sub(1);
}

inline void OpenFabric::handle(ssize_t count, const fi_cq_entry* entries) noexcept {
  // What was written when a flight was made is seen from here on, whatever libfabric does; what its
  // caller wrote is seen with its word.
  (void)flights_made_.load(std::memory_order_acquire);
  for (ssize_t i = 0; i < count; ++i) complete(entries[i].op_context, 0);
  if (count != -FI_EAVAIL) return;
  fi_cq_err_entry failed{};
  if (fi_cq_readerr(cq_.get(), &failed, 0) > 0)
    complete(failed.op_context, failed.err ? failed.err : FI_EIO);
}

ssize_t OpenFabric::drain() noexcept {
  std::array<fi_cq_entry, kCompletionsPerPoll> entries;
  const auto count = fi_cq_read(cq_.get(), entries.data(), entries.size());
  if (count != -FI_EAGAIN) handle(count, entries.data());
  return count;
}

/// Of a caller that polls, or is woken and will soon. That a count is lost now and then, when two
/// do this at once, does not matter.
void OpenFabric::note_poll() noexcept {
  polls_.store(polls_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
}

void OpenFabric::poll_once() noexcept {
  note_poll();
  drain();
}

/// About as long as a read takes: who blocks in the middle of one wakes for every piece that comes.
std::chrono::microseconds OpenFabric::polling_time(std::size_t bytes) const {
  constexpr std::size_t kBytesPerUs = 1024;
  constexpr std::size_t kMost_us = 2000;
  return std::chrono::microseconds(provider_.spin_us + std::min(bytes / kBytesPerUs, kMost_us));
}

/// Returns when a read of the flight ended since `seen`, when the peer has ended, or at the
/// deadline.
void OpenFabric::await_change(Flight* flight, std::uint32_t seen, Clock::time_point deadline,
                              const std::stop_token& ended) {
  const auto changed = [&] { return (flight->word.load() & Flight::kBusy) != seen; };
  if (provider_.spin_us > 0) {
    const auto until = std::min(deadline, Clock::now() + polling_time(flight->bytes));
    do {
      poll_once();
      if (changed()) return;
    } while (Clock::now() < until);
  }
  sleepers_.fetch_add(1);
  {
    std::lock_guard lock(progress_mutex_);
    progress_wake_.notify_one();
  }
  {
    const std::stop_callback wake(ended, [flight] {
      std::lock_guard lock(flight->mutex);
      flight->wake.notify_all();
    });
    std::unique_lock lock(flight->mutex);
    flight->word.fetch_or(Flight::kBlocked);
    flight->wake.wait_until(lock, deadline, [&] { return changed() || ended.stop_requested(); });
    unblock(flight);
  }
}

/// Hands reads to the provider while it takes them; true: it takes no more for now.
bool OpenFabric::post(Flight& flight) {
  const std::size_t piece = std::min(info_->ep_attr->max_msg_size, provider_.max_read_bytes);
  auto busy = flight.word.load() & Flight::kBusy;
  while (flight.posted < flight.bytes && busy != Flight::kBusy && flight.refused.empty() &&
         !flight.error.load()) {
    auto& slot = flight.reads[static_cast<std::size_t>(std::countr_one(busy))];
    const auto size = std::min(piece, flight.bytes - flight.posted);
    flight.word.fetch_or(slot.bit);
    const auto status = fi_read(
        endpoint_.get(), flight.buffer.data() + flight.at + flight.posted, size, flight.descriptor,
        flight.from.peer, flight.from.address + flight.posted, flight.from.key, &slot.context);
    if (status != 0) {
      flight.word.fetch_and(~slot.bit);
      if (status == -FI_EAGAIN) return true;
      flight.refused =
          "a read over " + std::string(provider_.name) + " failed: " + fi_reason(status);
      return false;
    }
    flight.posted += size;
    busy = flight.word.load() & Flight::kBusy;
  }
  return false;
}

PendingRead OpenFabric::start(const RemoteRange& from, const Buffer& into, std::size_t at,
                              std::size_t bytes) {
  Flight* flight = take_flight(into);
  PendingRead read(*this, flight);  // left also when there is no memory for an error's text
  flight->from = from;
  flight->at = at;
  flight->bytes = bytes;
  flight->posted = 0;
  flight->refused.clear();
  if (auto descriptor = local_descriptor(into)) {
    flight->descriptor = *descriptor;
    post(*flight);
  } else {
    flight->refused = std::move(descriptor.error().message);
  }
  return read;
}

inline Status OpenFabric::await_end(Flight* flight, Clock::duration timeout,
                                    const std::stop_token& ended) {
  const auto deadline = Clock::now() + timeout;
  for (;;) {
    const bool full = flight->posted < flight->bytes && post(*flight);
    const auto busy = flight->word.load() & Flight::kBusy;
    if (flight->is_over()) return {};
    if (ended.stop_requested())
      return fail(Code::kUnavailable, "the node was lost during a read from its memory");
    if (Clock::now() >= deadline)
      return fail(Code::kTimeout,
                  "a read over " + std::string(provider_.name) + " did not end in time");
    // A provider that is still connecting takes no read and gives no completion: look again soon.
    await_change(flight, busy, full ? std::min(deadline, Clock::now() + 1ms) : deadline, ended);
  }
}

Status OpenFabric::finish(Flight* flight, Clock::duration timeout, const std::stop_token& ended) {
  const PendingRead left_at_the_end(*this, flight);
  // One that ends at the first look needs no clock.
  if (provider_.spin_us > 0 && !flight->is_over()) poll_once();
  Status ending;
  if (!flight->is_over()) ending = await_end(flight, timeout, ended);
  if (ending && !flight->refused.empty()) {
    // Another provider may take it, also where this one may not lock memory.
    ending = fail(Code::kUnavailable, flight->refused);
  } else if (const int error = flight->error.load(); ending && error) {
    ending = fail(Code::kUnavailable,
                  "a read over " + std::string(provider_.name) + " failed: " + fi_strerror(error));
  }
  return ending;
}

// ---- progress ----

/// Threads that read one blob after another poll with short gaps: as long as that goes on, and none
/// of them sleeps, this thread would only be in their way.
bool OpenFabric::someone_polls() {
  const auto polls = polls_.load(std::memory_order_relaxed);
  const bool polled = std::exchange(polls_seen_, polls) != polls;
  return polled && sleepers_.load() == 0;
}

void OpenFabric::make_progress() {
  // Where no descriptor tells: what a look costs, and the wake-up for it, is 20 to 50 us.
  constexpr std::chrono::microseconds kShortestPause = 50us;
  constexpr std::chrono::microseconds kLongestPause = 20ms;
  auto pause = kShortestPause;
  while (!stopping_) {
    if (someone_polls()) {
      // Where an adapter moves the bytes, and no peer reads from here, nobody waits for this
      // thread.
      const auto limit = provider_.rdma && !serves_ ? 20ms : 1ms;
      std::unique_lock lock(progress_mutex_);
      progress_wake_.wait_for(lock, limit, [&] { return stopping_ || sleepers_.load() > 0; });
      continue;
    }
    if (wait_object_ == FI_WAIT_NONE) {
      pause = found(drain()) ? kShortestPause : std::min(2 * pause, kLongestPause);
      std::unique_lock lock(progress_mutex_);
      if (!stopping_) progress_wake_.wait_for(lock, pause);
      continue;
    }
    fid_t queue = &cq_->fid;
    readiness_.wait(fi_trywait(fabric_.get(), &queue, 1) != FI_SUCCESS);
    if (found(drain())) readiness_.was_right();
  }
}

Result<std::unique_ptr<Fabric>> open_fabric(const Provider& provider, const std::string& host,
                                            FabricUse use) {
  auto fabric = std::make_unique<OpenFabric>(provider);
  if (auto opened = fabric->open(host, use); !opened) return forward_error(std::move(opened));
  return fabric;
}

}  // namespace

Result<std::unique_ptr<Fabric>> Fabric::listen(const Provider& provider, const std::string& host) {
  return open_fabric(provider, host, FabricUse::kListen);
}

Result<std::unique_ptr<Fabric>> Fabric::connect(const Provider& provider, const std::string& host) {
  return open_fabric(provider, host, FabricUse::kConnect);
}

}  // namespace mempool::transport
