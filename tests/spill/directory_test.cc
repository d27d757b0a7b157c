// The spill directory: sessions that die, files that stay, and the quota.
#include <algorithm>
#include <atomic>
#include <fstream>
#include <functional>
#include <iostream>
#include <random>

#include <signal.h>

#include "support.h"

namespace mempool::spill {
namespace {

using namespace test;

DirectoryOptions options_at(const fs::path& root, std::uint64_t quota = 0) {
  static std::mt19937_64 random{std::random_device{}()};
  return {.root = root, .cluster = 5, .node = 6, .incarnation = random(), .quota_bytes = quota};
}

Result<File> spill(Directory& directory, std::uint64_t object, std::span<const std::byte> bytes,
                   bool retain = false) {
  auto writer = directory.create(object, bytes.size(), "T", retain);
  if (!writer) return forward_error(std::move(writer));
  if (auto appended = writer->append(bytes); !appended) return forward_error(std::move(appended));
  return writer->finish(false);
}

// A process with a session, a file, a retained file and an unfinished file. It lives until it is
// killed.
class OtherProcess {
 public:
  explicit OtherProcess(const fs::path& root) {
    int ready[2];
    if (::pipe(ready) != 0) return;
    const auto options = options_at(root);
    child_ = ::fork();
    if (child_ == 0) live(options, ready[1]);
    ::close(ready[1]);
    char path[512] = {};
    const auto got = ::read(ready[0], path, sizeof path - 1);
    ::close(ready[0]);
    if (got > 0) session_ = path;
  }
  OtherProcess(const OtherProcess&) = delete;
  OtherProcess& operator=(const OtherProcess&) = delete;
  ~OtherProcess() { kill(); }

  void kill() {
    if (child_ > 0) ::kill(child_, SIGKILL);
    if (child_ > 0) ::waitpid(child_, nullptr, 0);
    child_ = 0;
  }
  const fs::path& session() const { return session_; }

 private:
  [[noreturn]] static void live(const DirectoryOptions& options, int ready) {
    const auto directory = Directory::open(options);
    if (!directory || !spill(**directory, 1, pattern(1000)) ||
        !spill(**directory, 2, pattern(1000), true)) {
      ::_exit(1);
    }
    const auto unfinished = (*directory)->create(3, 100, "", true);
    const auto path = (*directory)->session_path().native();
    if (::write(ready, path.data(), path.size()) < 0) ::_exit(1);
    for (;;) ::pause();
  }

  pid_t child_ = 0;
  fs::path session_;
};

std::size_t entries(const fs::path& path) {
  return static_cast<std::size_t>(
      std::distance(fs::directory_iterator(path), fs::directory_iterator()));
}

TEST(SpillDirectory, MakesItsPlace) {
  Place place;
  const auto directory = Directory::open(options_at(place / "deep" / "er" / ".mempool"));
  ASSERT_TRUE(directory) << message(directory);
  EXPECT_FALSE(fs::exists(place / "deep")) << "not before there is something to put there";
  const auto session = (*directory)->session_path();
  EXPECT_TRUE(session.is_absolute());
  const auto file = spill(**directory, 7, pattern(100));
  ASSERT_TRUE(file) << message(file);
  EXPECT_EQ(fs::status(session).permissions(), fs::perms(0700));
  EXPECT_EQ(fs::status(session.parent_path()).permissions(), fs::perms(0700));
  EXPECT_EQ(fs::path(file->ref().path).parent_path(), session);
  EXPECT_EQ(fs::status(file->ref().path).permissions(), fs::perms(0600));
  EXPECT_EQ(file->ref().id.cluster, 5U);
  EXPECT_EQ(file->ref().id.node, 6U);
  EXPECT_EQ(file->ref().id.object, 7U);
}

TEST(SpillDirectory, C91_CleanExitRemovesTheSession) {
  Place place;
  fs::path session;
  fs::path retained;
  {
    const auto directory = Directory::open(options_at(place / "r"));
    ASSERT_TRUE(directory);
    session = (*directory)->session_path();
    ASSERT_TRUE(spill(**directory, 1, pattern(100)));
    const auto kept = spill(**directory, 2, pattern(100), true);
    ASSERT_TRUE(kept);
    retained = kept->ref().path;
    ASSERT_TRUE(write_blob(place / "saved", pattern(10)));
  }
  EXPECT_FALSE(fs::exists(session));
  EXPECT_TRUE(File::open(retained)->map());
  EXPECT_TRUE(File::open(place / "saved")->map());
}

TEST(SpillDirectory, C91_ARootGoesWithWhoMadeIt) {
  Place place;
  auto first = Directory::open(options_at(place / "r"));
  auto last = Directory::open(options_at(place / "r"));
  ASSERT_TRUE(first && last);
  ASSERT_TRUE(spill(**first, 1, pattern(100)) && spill(**last, 1, pattern(100)));
  last->reset();
  EXPECT_EQ(entries(place / "r"), 1U) << "somebody is there";
  first->reset();
  EXPECT_FALSE(fs::exists(place / "r"));

  fs::create_directory(place / "mine");
  auto guest = Directory::open(options_at(place / "mine"));
  ASSERT_TRUE(guest && spill(**guest, 1, pattern(100)));
  guest->reset();
  EXPECT_EQ(entries(place / "mine"), 0U) << "it stays, with nothing in it";

  auto host = Directory::open(options_at(place / "r"));
  ASSERT_TRUE(host && spill(**host, 1, pattern(100)));
  std::ofstream(place / "r" / "notes.txt") << "mine";
  host->reset();
  EXPECT_EQ(entries(place / "r"), 1U) << "what is not ours stays";
  auto homeless = Directory::open(options_at(place / "s"));
  ASSERT_TRUE(homeless && spill(**homeless, 1, pattern(100)));
  fs::remove_all(place / "s");
  homeless->reset();
  EXPECT_FALSE(fs::exists(place / "s")) << "nothing is made for the sake of removing it";
}

TEST(SpillDirectory, NothingIsMadeWhereNothingIsSpilled) {
  Place place;
  ASSERT_TRUE(Directory::open(options_at(place / "r")));
  EXPECT_EQ(place.entries(), 0U);
}

// In a directory that everybody may write to, as /tmp is.
TEST(SpillDirectory, C91_AnotherUsersDeadSessionRefusesNobody) {
  if (::geteuid() != 0) GTEST_SKIP() << "SKIPPED: only root can be two other users";
  Place place;
  fs::permissions(place.path(), fs::perms(0755));
  fs::create_directory(place / "shared");
  fs::permissions(place / "shared", fs::perms(01777));
  const auto spill_as = [&](uid_t user, bool crash) {
    const auto options = options_at(place / "shared");
    return in_child([&] {
      ASSERT_EQ(::setuid(user), 0);
      auto directory = Directory::open(options);
      ASSERT_TRUE(directory) << message(directory);
      EXPECT_TRUE((*directory)->usable());
      EXPECT_EQ((*directory)->swept(), user == 65533 && !crash ? 1U : 0U);
      for (const bool retain : {false, true}) {
        const auto file = spill(**directory, retain ? 2 : 1, pattern(100), retain);
        ASSERT_TRUE(file) << message(file);
        EXPECT_TRUE(file->map());
      }
      if (crash) ::_exit(0);
    });
  };
  ASSERT_TRUE(spill_as(65533, true));
  EXPECT_TRUE(spill_as(65534, false));
  EXPECT_TRUE(spill_as(65533, false)) << "and its own user sweeps it";
  EXPECT_EQ(entries(place / "shared"), 2U) << "what both retained";
}

TEST(SpillDirectory, C91_CrashedSessionsAreSwept) {
  Place place;
  OtherProcess dead(place / "r");
  OtherProcess alive(place / "r");
  ASSERT_TRUE(fs::exists(dead.session()));
  ASSERT_TRUE(fs::exists(alive.session()));
  EXPECT_EQ(entries(dead.session()), 3U) << "lock, blob and temporary";
  dead.kill();
  const auto directory = Directory::open(options_at(place / "r"));
  ASSERT_TRUE(directory) << message(directory);
  EXPECT_EQ((*directory)->swept(), 1U);
  EXPECT_FALSE(fs::exists(dead.session()));
  EXPECT_EQ(entries(alive.session()), 3U);
  EXPECT_EQ(entries(place / "r" / "retained"), 2U);
  alive.kill();
  const auto next = Directory::open(options_at(place / "r"));
  ASSERT_TRUE(next);
  EXPECT_EQ((*next)->swept(), 1U);
  EXPECT_EQ(entries(place / "r" / "retained"), 2U);
}

TEST(SpillDirectory, C91_OnlyOurFilesAreRemoved) {
  Place place;
  OtherProcess dead(place / "r");
  dead.kill();
  std::ofstream(dead.session() / "notes.txt") << "mine";
  fs::create_directory(dead.session() / "0123456789abcdef.blob");
  const auto stranger = place / "r" / "12-notours";
  fs::create_directory(stranger);
  std::ofstream(stranger / "0123456789abcdef.blob") << "mine";
  std::ofstream(place / "r" / "99-0123456789abcdef") << "a file with a session's name";
  fs::create_directory(place / "elsewhere");
  std::ofstream(place / "elsewhere" / "lock");
  std::ofstream(place / "elsewhere" / "0123456789abcdef.blob") << "mine";
  fs::create_symlink(place / "elsewhere", place / "r" / "98-0123456789abcdef");
  for (int round = 0; round < 2; ++round) {
    const auto directory = Directory::open(options_at(place / "r"));
    ASSERT_TRUE(directory) << message(directory);
    EXPECT_EQ((*directory)->swept(), 0U);
    EXPECT_EQ(entries(dead.session()), 2U);
    EXPECT_TRUE(fs::exists(stranger / "0123456789abcdef.blob"));
    EXPECT_TRUE(fs::exists(place / "r" / "99-0123456789abcdef"));
    EXPECT_TRUE(fs::exists(place / "elsewhere" / "0123456789abcdef.blob"));
  }
}

TEST(SpillDirectory, C91_HalfMadeAndHalfRemovedSessionsAreSwept) {
  Place place;
  const auto at = [&](const std::string& process) {
    const auto path = place / "r" / (process + "-0123456789abcdef");
    fs::create_directories(path);
    return path;
  };
  std::ofstream(at("1") / "lock");
  const auto now = fs::file_time_type::clock::now();
  for (const auto& half_made : {at("2"), at("3")}) {
    if (half_made == at("3")) std::ofstream(half_made / ".mempool-0123456789abcdef.tmp");
    fs::last_write_time(half_made, now - std::chrono::minutes(2));
  }
  at("4");
  const auto directory = Directory::open(options_at(place / "r"));
  ASSERT_TRUE(directory);
  EXPECT_EQ((*directory)->swept(), 3U);
  EXPECT_TRUE(fs::exists(at("4"))) << "somebody is making it";
}

// In a child, where no failure is reported: says why.
template <class T>
bool succeeded(const Result<T>& result) {
  if (!result) std::cerr << message(result) << std::endl;
  return result.has_value();
}

// As many processes at once; each ends with the status that `body` returns.
void expect_all_to_succeed(int processes, const std::function<int()>& body) {
  std::vector<pid_t> children;
  for (int i = 0; i < processes; ++i) {
    const pid_t child = ::fork();
    if (child == 0) ::_exit(body());
    children.push_back(child);
  }
  for (const pid_t child : children) {
    int status = 0;
    ::waitpid(child, &status, 0);
    EXPECT_TRUE(WIFEXITED(status));
    EXPECT_EQ(WEXITSTATUS(status), 0);
  }
}

std::uint64_t incarnation_of_round(std::uint64_t round) {
  return static_cast<std::uint64_t>(::getpid()) << 32 | round;
}

TEST(SpillDirectory, ManyProcessesComeAndGo) {
  Place place;
  expect_all_to_succeed(6, [&] {
    for (std::uint64_t round = 0; round < 25; ++round) {
      auto directory =
          Directory::open({.root = place / "r", .incarnation = incarnation_of_round(round)});
      if (!directory) return 2;
      const auto file = spill(**directory, round, pattern(5000));
      if (!succeeded(file) || !succeeded(file->map())) return 3;
      // Every third session is left as a crash leaves it, but for the lock, which is the
      // process's.
      if (round % 3 == 0) static_cast<void>(directory->release());
    }
    return 0;
  });
  ASSERT_TRUE(Directory::open(options_at(place / "r")));
  EXPECT_TRUE(!fs::exists(place / "r") || entries(place / "r") == 0U);
}

// All sweep while all make, in a root that comes and goes.
TEST(SpillDirectory, NobodyIsSweptWhileItIsMade) {
  Place place;
  expect_all_to_succeed(4, [&] {
    for (std::uint64_t round = 0; round < 200; ++round) {
      const auto directory =
          Directory::open({.root = place / "r", .incarnation = incarnation_of_round(round)});
      if (!directory) return 2;
      const auto file = spill(**directory, round, pattern(10));
      if (!succeeded(file) || !succeeded(file->map())) return 3;
      if (!fs::exists((*directory)->session_path() / "lock")) return 4;
    }
    return 0;
  });
  EXPECT_TRUE(!fs::exists(place / "r") || entries(place / "r") == 0U);
}

TEST(SpillDirectory, AForkedChildLeavesItsParentsFiles) {
  Place place;
  auto directory = Directory::open(options_at(place / "r"));
  ASSERT_TRUE(directory);
  const auto file = spill(**directory, 1, pattern(10));
  ASSERT_TRUE(file);
  EXPECT_TRUE(in_child([&] { directory->reset(); }));
  EXPECT_TRUE(file->map());
}

TEST(SpillDirectory, UnusableRootsAreNamed) {
  Place place;
  std::ofstream(place / "text") << "x";
  const auto refused = [&](const fs::path& root, Code why) {
    const auto directory = Directory::open(options_at(root));
    ASSERT_TRUE(directory) << message(directory);
    const auto usable = (*directory)->usable();
    EXPECT_EQ(code(usable), why) << message(usable);
    EXPECT_NE(message(usable).find(place.path().native()), std::string::npos) << message(usable);
    const auto file = spill(**directory, 1, pattern(10));
    EXPECT_EQ(code(file), why) << message(file);
    EXPECT_NE(message(file).find(root.native()), std::string::npos) << message(file);
  };
  for (const auto& root : {place / "text", place / "text" / "below", place / "text" / "b" / "c"})
    refused(root, Code::kInvalidArgument);
  EXPECT_EQ(code(Directory::open(options_at(""))), Code::kInvalidArgument);
  fs::permissions(place.path(), fs::perms(0555));
  EXPECT_TRUE(in_child([&] {
    become_nobody();
    refused(place / "r", Code::kPermissionDenied);
  }));
  fs::permissions(place.path(), fs::perms(0755));
  EXPECT_TRUE(in_child([&] {
    fs::create_directory(place / "gone");
    fs::current_path(place / "gone");
    fs::remove(place / "gone");
    const auto directory = Directory::open(options_at(".mempool"));
    ASSERT_TRUE(directory) << message(directory);
    EXPECT_EQ(code((*directory)->usable()), Code::kNotFound);
    EXPECT_EQ(code(spill(**directory, 1, pattern(10))), Code::kIo);
  }));
}

TEST(SpillDirectory, ARootThatIsMendedIsTaken) {
  Place place;
  std::ofstream(place / "r") << "x";
  const auto directory = Directory::open(options_at(place / "r"));
  ASSERT_TRUE(directory);
  EXPECT_EQ(code(spill(**directory, 1, pattern(10))), Code::kInvalidArgument);
  fs::remove(place / "r");
  EXPECT_TRUE((*directory)->usable());
  EXPECT_TRUE(spill(**directory, 1, pattern(10)));
}

TEST(SpillDirectory, OneSessionOfOneName) {
  Place place;
  const auto options = options_at(place / "r/");
  {
    const auto first = Directory::open(options);
    ASSERT_TRUE(first) << message(first);
    EXPECT_TRUE(spill(**first, 1, pattern(10)));
    const auto second = Directory::open(options);
    ASSERT_TRUE(second) << message(second);
    EXPECT_EQ(code(spill(**second, 1, pattern(10))), Code::kExists);
    EXPECT_TRUE(spill(**first, 2, pattern(10)));
  }
  const auto next = Directory::open(options);
  EXPECT_TRUE(next && spill(**next, 1, pattern(10)));
}

TEST(SpillDirectory, QuotaIsExact) {
  Place place;
  constexpr std::uint64_t kLength = 1000;
  constexpr std::uint64_t kEach = kHeaderBytes + kLength;
  const auto opened = Directory::open(options_at(place / "r", 3 * kEach));
  ASSERT_TRUE(opened);
  auto& directory = **opened;
  EXPECT_EQ(directory.quota_bytes(), 3 * kEach);
  EXPECT_EQ(directory.room_bytes(), 3 * kEach);
  const auto first = spill(directory, 1, pattern(kLength));
  ASSERT_TRUE(first);
  const auto kept = spill(directory, 2, pattern(kLength), true);
  ASSERT_TRUE(kept);
  EXPECT_EQ(directory.used_bytes(), 2 * kEach) << "retained files count";
  {
    auto unfinished = directory.create(3, kLength, "", false);
    ASSERT_TRUE(unfinished);
    EXPECT_EQ(directory.room_bytes(), 0U);
    const auto refused = directory.create(4, 0, "", false);
    EXPECT_EQ(code(refused), Code::kNoSpace);
    EXPECT_EQ(message(refused),
              "NoSpace: '" + (place / "r").native() +
                  "': the disk quota is 15288 bytes, 15288 are used and a blob of 0 bytes needs "
                  "4096");
  }
  EXPECT_EQ(directory.used_bytes(), 2 * kEach);
  EXPECT_EQ(code(directory.create(4, kLength + 1, "", false)), Code::kNoSpace);
  EXPECT_EQ(code(directory.create(4, ~0ULL, "", false)), Code::kNoSpace);
  EXPECT_EQ(code(directory.create(4, kLength, std::string(2000, 'x'), false)),
            Code::kInvalidArgument);
  EXPECT_EQ(code(directory.create(1, kLength, "", false)), Code::kExists);
  EXPECT_EQ(directory.used_bytes(), 2 * kEach) << "refused ones cost nothing";

  const File copy = *first;
  EXPECT_TRUE(directory.remove(*first));
  EXPECT_FALSE(fs::exists(first->ref().path));
  EXPECT_TRUE(directory.remove(*first));
  EXPECT_TRUE(directory.remove(copy)) << "gives back once";
  EXPECT_EQ(directory.used_bytes(), kEach);
  fs::remove(kept->ref().path);
  EXPECT_TRUE(directory.remove(*kept)) << "deleted by somebody else";
  EXPECT_EQ(directory.used_bytes(), 0U);
}

TEST(SpillDirectory, RemovesOnlyItsOwn) {
  Place place;
  const auto one = Directory::open(options_at(place / "r"));
  const auto two = Directory::open(options_at(place / "r"));
  ASSERT_TRUE(one && two);
  const auto file = spill(**one, 1, pattern(10));
  const auto saved = write_blob(place / "saved", pattern(10));
  ASSERT_TRUE(file && saved);
  EXPECT_EQ(code((*two)->remove(*file)), Code::kInvalidArgument);
  EXPECT_EQ(code((*one)->remove(*saved)), Code::kInvalidArgument);
  const auto opened = File::open(file->ref());
  ASSERT_TRUE(opened);
  EXPECT_EQ(code((*one)->remove(*opened)), Code::kInvalidArgument);
  EXPECT_TRUE(file->map());
}

TEST(SpillDirectory, QuotaHoldsAmongThreads) {
  Place place;
  constexpr std::uint64_t kEach = kHeaderBytes + 100;
  constexpr std::uint64_t kFit = 5;
  const auto opened = Directory::open(options_at(place / "r", kFit * kEach));
  ASSERT_TRUE(opened);
  auto& directory = **opened;
  std::atomic<std::uint64_t> next = 0;
  std::atomic<std::uint64_t> refused = 0;
  std::atomic<bool> bad = false;
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&] {
      for (int round = 0; round < 50; ++round) {
        const auto file = spill(directory, next++, pattern(100));
        if (directory.used_bytes() > kFit * kEach) bad = true;
        if (file && !directory.remove(*file)) bad = true;
        if (!file && file.error().code != Code::kNoSpace) bad = true;
        if (!file) ++refused;
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_FALSE(bad);
  EXPECT_EQ(directory.used_bytes(), 0U);
  EXPECT_EQ(entries(directory.session_path()), 1U) << "the lock";
  for (std::uint64_t i = 0; i < kFit; ++i) EXPECT_TRUE(spill(directory, next++, pattern(100)));
  EXPECT_EQ(code(spill(directory, next++, pattern(100))), Code::kNoSpace);
}

TEST(SpillDirectory, RoomWithoutAQuotaIsTheDisks) {
  Place place;
  const auto directory = Directory::open(options_at(place / "r"));
  ASSERT_TRUE(directory);
  EXPECT_EQ((*directory)->quota_bytes(), 0U);
  const auto space = fs::space(place.path());
  EXPECT_LE((*directory)->room_bytes(), space.capacity);
  EXPECT_GT((*directory)->room_bytes(), 0U);
}

TEST(SpillDirectory, C73_ASessionThatWasDeletedIsAnError) {
  Place place;
  const auto directory = Directory::open(options_at(place / "r", 1 << 20));
  ASSERT_TRUE(directory);
  ASSERT_TRUE(spill(**directory, 1, pattern(10)));
  const auto used = (*directory)->used_bytes();
  fs::remove_all((*directory)->session_path());
  const auto file = spill(**directory, 2, pattern(10));
  EXPECT_EQ(code(file), Code::kIo) << message(file);
  EXPECT_EQ((*directory)->used_bytes(), used);
}

TEST(SpillDirectory, C50_RetainedFilesOfManyLivesLieSideBySide) {
  Place place;
  std::vector<FileRef> kept;
  for (std::uint32_t life = 0; life < 3; ++life) {
    const auto directory = Directory::open(options_at(place / "r"));
    ASSERT_TRUE(directory);
    const auto file = spill(**directory, 1, pattern(100, life), true);
    ASSERT_TRUE(file) << message(file);
    kept.push_back(file->ref());
  }
  for (std::uint32_t life = 0; life < 3; ++life) {
    const auto file = File::open(kept[life]);
    ASSERT_TRUE(file) << message(file);
    EXPECT_EQ(copy_of(file->map()->payload()), pattern(100, life));
  }
}

}  // namespace
}  // namespace mempool::spill
