#include "api/programs/torture_run.h"

#include <algorithm>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <optional>
#include <span>
#include <thread>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "api/path_counters.h"
#include "api/programs/system_error.h"
#include "api/programs/torture_blob.h"
#include "api/programs/torture_process.h"
#include "api/programs/torture_roles.h"
#include "transport/address.h"
#include "transport/log.h"
#include "transport/provider.h"

namespace mempool::torture {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;
using namespace std::chrono_literals;

constexpr auto kEndLimit = 30s;
constexpr auto kLeastWait = 2000ms;
constexpr auto kTick = 2ms;
constexpr auto kLongPause = 12'000ms;  // longer than a session's lease
constexpr auto kProgressEvery = 60s;

volatile std::sig_atomic_t was_interrupted = 0;

/// Ports are fixed, so that an owner comes back as the same node; below the range that port 0 is
/// served from, so that nobody takes one while its owner is away.
Result<std::string> free_address(const std::string& host, std::uint64_t first) {
  constexpr std::uint64_t kFirst = 20'000;
  constexpr std::uint64_t kCount = 10'000;
  sockaddr_in address{};
  address.sin_family = AF_INET;
  if (inet_pton(AF_INET, host.c_str(), &address.sin_addr) != 1)
    return fail(Code::kInvalidArgument, "--host is " + host + ", not an IPv4 address");
  for (std::uint64_t i = 0; i < kCount; ++i) {
    const auto port = static_cast<std::uint16_t>(kFirst + (first + i) % kCount);
    address.sin_port = htons(port);
    const int socket = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (socket < 0) return programs::system_error("no socket");
    const bool is_free =
        bind(socket, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
    close(socket);
    if (is_free) return host + ":" + std::to_string(port);
  }
  return fail(Code::kLimit, "no port of " + host + " can be listened on");
}

/// A process of the run and what it is for.
struct Actor {
  enum class Kind { kOwner, kChurner, kReader };
  Kind kind;
  std::uint32_t index;
  std::optional<Process> process;
  std::uint32_t life = 0;
  std::optional<Clock::time_point> resumes;  // is stopped until then

  std::string name() const {
    const char* names[] = {"owner", "churner", "reader"};
    return std::string(names[static_cast<int>(kind)]) + " " + std::to_string(index);
  }
};

class Run {
 public:
  Run(const Options& options, const std::string& path, SharedBoard board)
      : options_(options),
        board_(std::move(board)),
        plan_(board_->plan),
        random_(options.plan.seed ^ std::hash<std::string>()(path)) {
    plan_ = options.plan;
    plan_.path.set(path);
    report_.path = path;
  }

  ~Run() {
    actors_.clear();  // kills what still runs
    std::error_code ignored;
    if (!directory_.empty()) std::filesystem::remove_all(directory_, ignored);
  }

  Result<Report> go();

 private:
  Status start_all();
  Status start(Actor& actor);
  Status start_owner(Actor& actor);
  std::vector<std::string> owner_command(const Actor& actor) const;
  std::vector<std::string> role_command(const char* role, const Actor& actor) const;
  bool over();
  std::uint64_t accepted() const;
  std::uint64_t views_by_path() const;
  void await_first_view();
  void tell_progress(Clock::time_point now, Clock::time_point until);
  void resume_those_whose_time_has_come(Clock::time_point now);
  void inject(Clock::time_point now);
  void pause(Actor& actor);
  void kill_and_restart(Actor& actor);
  void await_large_read(const Actor& reader);
  Actor* pick(bool owner);
  std::uint32_t kill_every_ms() const;
  Clock::time_point next_after(Clock::time_point now, std::uint32_t every_ms);
  void end();
  void see_end(std::span<Actor> actors);
  void tally();
  void add(std::map<std::string, std::uint64_t>& to, const Refusals& refusals);
  void trouble(std::string what) { report_.troubles.push_back(std::move(what)); }

  const Options& options_;
  SharedBoard board_;
  Plan& plan_;
  Random random_;
  Report report_;
  std::filesystem::path directory_;
  std::vector<Actor> actors_;  // owners first, which end last
  Clock::time_point next_pause_;
  Clock::time_point next_kill_;
  Clock::time_point next_progress_;
};

Result<Report> Run::go() {
  if (auto started = start_all(); !started) return forward_error(std::move(started));
  await_first_view();
  const auto begin = Clock::now();
  const auto until = begin + std::chrono::seconds(options_.seconds);
  next_pause_ = next_after(begin, options_.pause_every_ms);
  next_kill_ = next_after(begin, kill_every_ms());
  next_progress_ = begin + kProgressEvery;
  for (auto now = begin; now < until && !over(); now = Clock::now()) {
    std::this_thread::sleep_for(kTick);
    resume_those_whose_time_has_come(now);
    inject(now);
    if (now >= next_progress_) tell_progress(now, until);
  }
  report_.seconds = std::chrono::duration<double>(Clock::now() - begin).count();
  end();
  tally();
  return report_;
}

/// Nobody ends by himself before the others are told to: end() says how it was.
bool Run::over() {
  if (interrupted() || !report_.troubles.empty()) return true;
  for (auto& actor : actors_)
    if (actor.process->ended()) return true;
  for (const auto& reader : board_->readers)
    for (const auto& thread : reader)
      if (thread.wrong.get() != 0 || thread.lost.get() != 0) return true;
  return false;
}

// ---- starting ----

Status Run::start_all() {
  std::string directory = options_.spill_root + "/mempool-torture-XXXXXX";
  if (!mkdtemp(directory.data())) return programs::system_error(directory);
  directory_ = directory;
  for (std::uint32_t i = 0; i < plan_.owners; ++i) {
    auto address = free_address(options_.host, static_cast<std::uint64_t>(getpid()) * 61 + i);
    if (!address) return forward_error(std::move(address));
    plan_.addresses[i].set(*address);
    // At once: what it listens on is free for nobody else.
    actors_.push_back({Actor::Kind::kOwner, i, {}});
    if (auto started = start(actors_.back()); !started) return started;
  }
  for (std::uint32_t i = 0; i < plan_.owners; ++i)
    actors_.push_back({Actor::Kind::kChurner, i, {}});
  for (std::uint32_t i = 0; i < plan_.readers; ++i)
    actors_.push_back({Actor::Kind::kReader, i, {}});
  for (auto& actor : actors_)
    if (!actor.process)
      if (auto started = start(actor); !started) return started;
  return {};
}

Status Run::start(Actor& actor) {
  if (actor.kind == Actor::Kind::kOwner) return start_owner(actor);
  const char* role = actor.kind == Actor::Kind::kReader ? "read" : "churn";
  auto process = Process::start(role_command(role, actor));
  if (!process) return forward_error(std::move(process));
  actor.process = std::move(*process);
  ++actor.life;
  return {};
}

Status Run::start_owner(Actor& actor) {
  auto process = Process::start(owner_command(actor));
  if (!process) return forward_error(std::move(process));
  const auto ready = process->read_line(kStartLimit);
  if (!ready || !ready->starts_with("ready "))
    return fail(Code::kUnavailable,
                options_.mempoold + " " + process->ended().value_or("is not ready in time"));
  actor.process = std::move(*process);
  ++actor.life;
  return {};
}

std::vector<std::string> Run::owner_command(const Actor& actor) const {
  const auto index = std::to_string(actor.index);
  std::vector<std::string> command{options_.mempoold,
                                   "--listen",
                                   plan_.addresses[actor.index].get(),
                                   "--spill-dir",
                                   directory_ / index,
                                   "--max-memsize",
                                   std::to_string(plan_.max_memsize),
                                   "--provider",
                                   plan_.path.get(),
                                   "--read-window-ms",
                                   std::to_string(plan_.read_window_ms),
                                   "--quarantine-ms",
                                   std::to_string(plan_.quarantine_ms),
                                   "--cluster",
                                   kCluster,
                                   "--log-level",
                                   "error"};
  if (!transport::is_loopback(options_.host)) command.emplace_back("--insecure");
  for (const auto& other : actors_)
    if (other.kind == Actor::Kind::kOwner && other.index != actor.index) {
      command.push_back("--join");
      command.push_back(plan_.addresses[other.index].get());
    }
  return command;
}

std::vector<std::string> Run::role_command(const char* role, const Actor& actor) const {
  return {options_.self,
          "--role",
          role,
          "--index",
          std::to_string(actor.index),
          "--life",
          std::to_string(actor.life),
          "--board",
          std::to_string(board_.descriptor())};
}

// ---- while it runs ----

std::uint64_t Run::accepted() const {
  std::uint64_t all = 0;
  for (const auto& reader : board_->readers)
    for (const auto& thread : reader) all += thread.accepted();
  return all;
}

/// The path by which views come when nothing is in the way.
Path path_of(const std::string& name) {
  if (name == transport::kSharedMemoryName) return Path::kSharedMemory;
  if (name == transport::kMappedFilesName) return Path::kMappedFile;
  const auto* provider = transport::find_provider(name);
  return provider ? PathCounters::one_sided(*provider) : Path::kPush;
}

std::uint64_t Run::views_by_path() const {
  const auto path = static_cast<std::size_t>(path_of(report_.path));
  std::uint64_t all = 0;
  for (const auto& reader : board_->readers)
    for (const auto& thread : reader) all += thread.views_by_path[path].get();
  return all;
}

/// Faults begin, and the time counts, when reads do: on a slow machine that may take longer than
/// the run.
void Run::await_first_view() {
  const auto until = Clock::now() + kStartLimit;
  while (views_by_path() == 0 && Clock::now() < until && !over())
    std::this_thread::sleep_for(kTick);
}

void Run::tell_progress(Clock::time_point now, Clock::time_point until) {
  next_progress_ += kProgressEvery;
  const auto left = std::chrono::ceil<std::chrono::seconds>(until - now);
  transport::log().info("path {}: {} reads accepted, {} s left", report_.path, accepted(),
                        left.count());
}

void Run::resume_those_whose_time_has_come(Clock::time_point now) {
  for (auto& actor : actors_) {
    if (!actor.resumes || *actor.resumes > now) continue;
    actor.process->signal(SIGCONT);
    actor.resumes.reset();
  }
}

Clock::time_point Run::next_after(Clock::time_point now, std::uint32_t every_ms) {
  if (every_ms == 0) return Clock::time_point::max();
  return now + milliseconds(every_ms / 2 + random_.below(every_ms));
}

void Run::inject(Clock::time_point now) {
  if (now >= next_pause_) {
    next_pause_ = next_after(now, options_.pause_every_ms);
    if (auto* actor = pick(random_.one_in(3))) pause(*actor);
  }
  if (now >= next_kill_) {
    next_kill_ = next_after(now, kill_every_ms());
    if (auto* actor = pick(random_.one_in(2))) kill_and_restart(*actor);
  }
}

/// Nobody is killed where that stops the others: it says nothing of what they read.
std::uint32_t Run::kill_every_ms() const {
  const auto* provider = transport::find_provider(report_.path);
  return provider && provider->shares_locks ? 0 : options_.kill_every_ms;
}

/// An owner or a reader; nothing if the one chosen is stopped.
Actor* Run::pick(bool owner) {
  const auto at =
      owner ? random_.below(plan_.owners) : 2 * plan_.owners + random_.below(plan_.readers);
  return actors_[at].resumes ? nullptr : &actors_[at];
}

/// For longer than the quarantine.
void Run::pause(Actor& actor) {
  const bool reader = actor.kind == Actor::Kind::kReader;
  if (reader && random_.one_in(2)) await_large_read(actor);
  actor.process->signal(SIGSTOP);
  ++(reader ? report_.reader_pauses : report_.owner_pauses);
  const auto quarantine = plan_.quarantine_ms;
  const auto pause = quarantine + quarantine / 2 + random_.below(6 * std::uint64_t{quarantine} + 1);
  // Once in a while a reader loses its lease: what it holds in place stays there all the same.
  const bool long_one = reader && random_.one_in(64);
  actor.resumes = Clock::now() + (long_one ? kLongPause : milliseconds(pause));
}

/// So that the pause falls into the middle of one.
void Run::await_large_read(const Actor& reader) {
  const auto large = plan_.largest / 4;
  const auto until = Clock::now() + 50ms;
  const auto under_way = [&] {
    return std::ranges::any_of(board_->readers[reader.index], [&](const ReaderPart& thread) {
      return thread.reading_bytes.load(std::memory_order_relaxed) >= large;
    });
  };
  while (!under_way() && Clock::now() < until) std::this_thread::sleep_for(200us);
}

void Run::kill_and_restart(Actor& actor) {
  ++(actor.kind == Actor::Kind::kReader ? report_.reader_kills : report_.owner_kills);
  actor.process->kill();
  if (auto started = start(actor); !started)
    trouble(actor.name() + " does not start again: " + started.error().to_string());
}

// ---- the end ----

void Run::end() {
  board_->stop = true;
  resume_those_whose_time_has_come(Clock::time_point::max());
  const std::span<Actor> all(actors_);
  see_end(all.subspan(plan_.owners));
  for (auto& owner : all.first(plan_.owners)) owner.process->signal(SIGTERM);
  see_end(all.first(plan_.owners));
}

/// All of them together have one limit.
void Run::see_end(std::span<Actor> actors) {
  const auto until = Clock::now() + kEndLimit;
  for (auto& actor : actors) {
    const auto left = std::chrono::ceil<milliseconds>(until - Clock::now());
    const auto how = actor.process->wait(std::max(left, kLeastWait));
    if (how && *how == kWell) continue;
    trouble(actor.name() + " " +
            how.value_or("(process " + std::to_string(actor.process->pid()) + ") hangs"));
    actor.process->signal(SIGABRT);  // which leaves a core, where cores are allowed
    actor.process->wait(kLeastWait);
    actor.process->kill();
  }
}

void Run::add(std::map<std::string, std::uint64_t>& to, const Refusals& refusals) {
  for (std::size_t i = 0; i < kCodes; ++i) {
    const auto count = refusals[i].get();
    if (count == 0) continue;
    const auto code = static_cast<Code>(i);
    if (!is_expected(code))
      trouble(std::string("something was refused with ") + std::string(to_string(code)));
    to[std::string(to_string(code))] += count;
  }
}

void Run::tally() {
  std::array<std::uint64_t, kPathCount> by_path{};
  for (const auto& reader : board_->readers)
    for (const auto& part : reader) {
      report_.views += part.views.get();
      report_.buffers += part.buffers.get();
      report_.copies += part.copies.get();
      report_.parts += part.parts.get();
      report_.held += part.held.get();
      report_.bytes += part.bytes.get();
      report_.wrong += part.wrong.get();
      report_.lost += part.lost.get();
      if (report_.first_wrong.empty()) report_.first_wrong = part.first_wrong.get();
      for (std::size_t i = 0; i < kPathCount; ++i) by_path[i] += part.views_by_path[i].get();
      add(report_.refused, part.refusals);
    }
  for (std::size_t i = 0; i < kPathCount; ++i)
    if (by_path[i] != 0)
      report_.views_by_path[std::string(to_string(static_cast<Path>(i)))] = by_path[i];
  if (views_by_path() == 0) trouble("no view came by this path");
  for (const auto& part : board_->retries)
    for (std::size_t i = 0; i < RetryPart::kReasons; ++i)
      if (const auto count = part.counts[i].get()) report_.retries[part.names[i].get()] += count;
  for (const auto& part : board_->churners) {
    report_.sets += part.sets.get();
    report_.set_bytes += part.set_bytes.get();
    report_.deletes += part.deletes.get();
    report_.moves_to_disk += part.moves_to_disk.get();
    report_.promotions += part.promotions.get();
    report_.evictions += part.evictions.load();
    add(report_.churn_refused, part.refusals);
  }
}

}  // namespace

Result<Report> run(const Options& options, const std::string& path) {
  auto board = SharedBoard::create();
  if (!board) return forward_error(std::move(board));
  return Run(options, path, std::move(*board)).go();
}

void interrupt() {
  was_interrupted = 1;
}

bool interrupted() {
  return was_interrupted != 0;
}

}  // namespace mempool::torture
