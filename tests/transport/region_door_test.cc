// The door at which a node hands its memory to readers on the same host, over a real socket: who is
// let in, what strangers on either side of it can do.
#include "transport/region_door.h"

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <thread>

#include <fcntl.h>
#include <gmock/gmock.h>
#include <linux/memfd.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "region_owner.h"
#include "support/eventually.h"
#include "support/files.h"

namespace mempool::transport {
namespace {

using namespace std::chrono_literals;
using test::Clock;
using test::code;
using test::eventually;
using test::message;
using test::must;
using test::pattern;
using test::same;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class RegionDoorTest : public RegionOwner {};

// ---- who is let in ----

TEST_F(RegionDoorTest, OnlyASessionThatSaidHelloIsLetIn) {
  const auto refused = attach(kSession);
  EXPECT_EQ(code(refused), Code::kUnavailable);
  EXPECT_THAT(message(refused), HasSubstr("does not let this session in"));
  door_->admit({1, 3});
  EXPECT_EQ(code(attach({1, 2})), Code::kUnavailable);
  EXPECT_EQ(code(attach({3, 1})), Code::kUnavailable);
  must(attach({1, 3}));
}

TEST_F(RegionDoorTest, ASessionIsLetInOnce) {
  const auto first = reader();
  EXPECT_EQ(code(attach(kSession)), Code::kUnavailable);
}

TEST_F(RegionDoorTest, ASessionThatEndedIsNotLetInAndWhoIsInStays) {
  const auto inside = reader({7, 7});
  door_->admit(kSession);
  door_->dismiss(kSession);
  door_->dismiss({7, 7});
  EXPECT_EQ(code(attach(kSession)), Code::kUnavailable);
  const auto shown = inside->show(kHint, kBlob);
  ASSERT_TRUE(shown);
  EXPECT_EQ(shown->verdict, Verdict::kAccepted);
  EXPECT_THAT(held(), SizeIs(1));
}

TEST_F(RegionDoorTest, OtherHostsAreToldApart) {
  // No such socket in this network namespace, as for a node on another host.
  const auto nowhere = SharedRegions::attach("mempool-none", kSession,
                                             std::vector<std::uint64_t>{kRegionBytes}, 30s);
  EXPECT_EQ(code(nowhere), Code::kNotFound);
  EXPECT_THAT(message(nowhere), HasSubstr("another host"));
  EXPECT_EQ(code(SharedRegions::attach(std::string(500, 'x'), kSession, {}, 30s)),
            Code::kUnavailable);
}

TEST_F(RegionDoorTest, RegionsOtherThanAnnouncedAreRefused) {
  door_->admit({1, 1});
  EXPECT_EQ(code(attach({1, 1}, {kRegionBytes, kRegionBytes})), Code::kProtocol) << "one more";
  door_->admit({1, 2});
  EXPECT_EQ(code(attach({1, 2}, {})), Code::kProtocol) << "one less";
  door_->admit({1, 3});
  EXPECT_EQ(code(attach({1, 3}, {2 * kRegionBytes})), Code::kUnavailable) << "too short";
  EXPECT_EQ(code(attach({1, 4}, std::vector<std::uint64_t>(kMaxRegionsHandedOver + 1, 1))),
            Code::kUnavailable);
  EXPECT_TRUE(eventually([&] { return held().empty(); }));
  reader();  // the door goes on
}

TEST_F(RegionDoorTest, MemoryThatItsOwnerCouldCutOffIsNotMapped) {
  for (const int seals : {0, F_SEAL_GROW, F_SEAL_GROW | F_SEAL_SEAL}) {
    OwnedRegion open(seals);
    auto door = must(RegionDoor::open(io_, {open.descriptor()}, pages_));
    door->admit(kSession);
    const std::vector<std::uint64_t> bytes{kRegionBytes};
    const auto refused = SharedRegions::attach(door->name(), kSession, bytes, 30s);
    EXPECT_EQ(code(refused), Code::kUnavailable);
    EXPECT_THAT(message(refused), HasSubstr("sealed"));
  }
}

TEST_F(RegionDoorTest, NamesAreUnguessable) {
  const auto other = must(RegionDoor::open(io_, {region_.descriptor()}, pages_));
  EXPECT_NE(other->name(), door_->name());
  EXPECT_GE(other->name().size(), std::string("mempool-").size() + 32);
}

TEST_F(RegionDoorTest, ProgramsThatTheProcessStartsDoNotInheritItsSockets) {
  const auto before = test::inheritable_sockets();
  const auto other = must(RegionDoor::open(io_, {region_.descriptor()}, pages_));
  other->admit(kSession);
  const auto inside = must(SharedRegions::attach(other->name(), kSession,
                                                 std::vector<std::uint64_t>{kRegionBytes}, 30s));
  EXPECT_EQ(test::inheritable_sockets(), before);
}

// ---- strangers at the door ----

struct Address {
  explicit Address(const std::string& name) {
    const auto path = abstract_address(name);
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, path.data(), path.size());
    size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size());
  }
  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&address); }
  sockaddr_un address{};
  socklen_t size = 0;
};

/// A connector that says what it likes.
class Stranger {
 public:
  explicit Stranger(const std::string& name)
      : socket_(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    const Address address(name);
    if (::connect(socket_, address.get(), address.size) != 0)
      throw std::runtime_error("cannot connect to the door");
  }
  ~Stranger() { ::close(socket_); }
  Stranger(const Stranger&) = delete;
  Stranger& operator=(const Stranger&) = delete;

  void say(std::span<const std::byte> bytes) {
    EXPECT_EQ(::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(bytes.size()));
  }
  void ask(const HandoverRequest& request) { say(std::as_bytes(std::span(&request, 1))); }
  /// The reply and its descriptors; empty when the owner hung up instead.
  std::vector<int> descriptors(Clock::duration limit = test::kPatience) {
    pollfd waiting{socket_, POLLIN, 0};
    const auto limit_ms = std::chrono::duration_cast<std::chrono::milliseconds>(limit).count();
    if (::poll(&waiting, 1, static_cast<int>(limit_ms)) <= 0) throw std::runtime_error("silence");
    HandoverReply reply;
    iovec bytes{&reply, sizeof reply};
    alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int) * 8)> control{};
    msghdr got{};
    got.msg_iov = &bytes;
    got.msg_iovlen = 1;
    got.msg_control = control.data();
    got.msg_controllen = control.size();
    if (::recvmsg(socket_, &got, MSG_CMSG_CLOEXEC) <= 0) return {};
    const auto* header = CMSG_FIRSTHDR(&got);
    if (header == nullptr) return {};
    std::vector<int> all((header->cmsg_len - CMSG_LEN(0)) / sizeof(int));
    std::memcpy(all.data(), CMSG_DATA(header), all.size() * sizeof(int));
    return all;
  }
  bool hung_up() { return descriptors().empty(); }

 private:
  int socket_;
};

TEST_F(RegionDoorTest, GarbageGetsNothing) {
  door_->admit(kSession);
  {
    Stranger noise(door_->name());
    noise.say(pattern(sizeof(HandoverRequest)));
    EXPECT_TRUE(noise.hung_up());
  }
  {
    Stranger half(door_->name());
    half.say(pattern(3));
  }
  {
    Stranger other(door_->name());
    other.ask({.magic = HandoverRequest::kMagic + 1, .session = kSession});
    EXPECT_TRUE(other.hung_up());
  }
  { Stranger silent(door_->name()); }
  must(attach(kSession));  // which none of these used up
}

TEST_F(RegionDoorTest, AReaderThatSpeaksIsHungUpOnAndItsSlotsGo) {
  door_->admit(kSession);
  Stranger chatty(door_->name());
  chatty.ask({.session = kSession});
  const auto descriptors = chatty.descriptors();
  ASSERT_THAT(descriptors, SizeIs(2));
  auto* page = static_cast<HazardPage*>(
      ::mmap(nullptr, sizeof(HazardPage), PROT_READ | PROT_WRITE, MAP_SHARED, descriptors[0], 0));
  ASSERT_NE(page, MAP_FAILED);
  page->slots[3] = HazardPlace{0, 64}.word();
  EXPECT_THAT(held(), SizeIs(1));
  chatty.say(pattern(1));
  EXPECT_TRUE(chatty.hung_up());
  EXPECT_TRUE(eventually([&] { return held().empty(); }));
  for (int descriptor : descriptors) ::close(descriptor);
  ::munmap(page, sizeof *page);
}

/// Whatever is done with the descriptors, the owner's memory is the owner's.
TEST_F(RegionDoorTest, TheMemoryCanOnlyBeRead) {
  door_->admit(kSession);
  Stranger reader(door_->name());
  reader.ask({.session = kSession});
  const auto descriptors = reader.descriptors();
  ASSERT_THAT(descriptors, SizeIs(2));
  const int region = descriptors[1];
  EXPECT_EQ(::mmap(nullptr, kRegionBytes, PROT_READ | PROT_WRITE, MAP_SHARED, region, 0),
            MAP_FAILED);
  EXPECT_EQ(errno, EPERM);
  EXPECT_EQ(::pwrite(region, "x", 1, 0), -1);
  EXPECT_EQ(::ftruncate(region, 0), -1);
  EXPECT_EQ(::fallocate(region, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, kRegionBytes), -1);
  void* mapped = ::mmap(nullptr, kRegionBytes, PROT_READ, MAP_SHARED, region, 0);
  ASSERT_NE(mapped, MAP_FAILED);
  EXPECT_EQ(::mprotect(mapped, kRegionBytes, PROT_READ | PROT_WRITE), -1);
  EXPECT_EQ(::madvise(mapped, kRegionBytes, MADV_REMOVE), -1);
  // Nor by opening the file anew.
  const auto path = "/proc/self/fd/" + std::to_string(region);
  const int reopened = ::open(path.c_str(), O_RDWR | O_CLOEXEC);
  if (reopened >= 0) {
    EXPECT_EQ(::mmap(nullptr, kRegionBytes, PROT_WRITE, MAP_SHARED, reopened, 0), MAP_FAILED);
    ::close(reopened);
  }
  EXPECT_EQ(std::memcmp(static_cast<const std::byte*>(mapped) + kHint.offset + sizeof(BlobHeader),
                        pattern(kBlob.length).data(), kBlob.length),
            0);
  ::munmap(mapped, kRegionBytes);
  for (int descriptor : descriptors) ::close(descriptor);
}

TEST_F(RegionDoorTest, ASilentConnectorIsDropped) {
  const auto begin = Clock::now();
  Stranger silent(door_->name());
  EXPECT_TRUE(silent.hung_up());
  EXPECT_GE(Clock::now() - begin, 4s) << "a slow reader has time";
  EXPECT_LT(Clock::now() - begin, 5s + test::kPatience);
}

/// The socket is the reader's life: closed by the system when its process ends, however that is.
TEST_F(RegionDoorTest, AReaderThatDiesHoldsNothing) {
  door_->admit(kSession);
  auto stranger = std::make_unique<Stranger>(door_->name());
  stranger->ask({.session = kSession});
  const auto descriptors = stranger->descriptors();
  ASSERT_THAT(descriptors, SizeIs(2));
  auto* page = static_cast<HazardPage*>(
      ::mmap(nullptr, sizeof(HazardPage), PROT_READ | PROT_WRITE, MAP_SHARED, descriptors[0], 0));
  ASSERT_NE(page, MAP_FAILED);
  for (auto& slot : page->slots) slot = HazardPlace{0, 64}.word();
  EXPECT_THAT(held(), SizeIs(kHazardSlots));
  stranger.reset();
  EXPECT_TRUE(eventually([&] { return held().empty(); }));
  for (int descriptor : descriptors) ::close(descriptor);
  ::munmap(page, sizeof *page);
}

// ---- strangers behind the door ----

/// An owner that hands over what it likes.
class FakeDoor {
 public:
  FakeDoor() : socket_(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    const Address address(name());
    if (::bind(socket_, address.get(), address.size) != 0 || ::listen(socket_, 4) != 0)
      throw std::runtime_error("no door");
  }
  ~FakeDoor() {
    finish();
    ::close(socket_);
  }
  std::string name() const { return "mempool-fake-" + std::to_string(::getpid()); }

  /// To the next reader; then it hangs up.
  void hand_over(const HandoverReply& reply, std::vector<int> descriptors) {
    finish();
    thread_ = std::thread([this, reply, descriptors = std::move(descriptors)] {
      const int reader = ::accept4(socket_, nullptr, nullptr, SOCK_CLOEXEC);
      HandoverRequest request;
      (void)::recv(reader, &request, sizeof request, MSG_WAITALL);
      auto copied = reply;
      iovec bytes{&copied, sizeof copied};
      std::vector<char> control(CMSG_SPACE(sizeof(int) * descriptors.size()) + sizeof(cmsghdr));
      msghdr message{};
      message.msg_iov = &bytes;
      message.msg_iovlen = 1;
      if (!descriptors.empty()) {
        message.msg_control = control.data();
        message.msg_controllen = CMSG_SPACE(sizeof(int) * descriptors.size());
        cmsghdr* header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(sizeof(int) * descriptors.size());
        std::memcpy(CMSG_DATA(header), descriptors.data(), sizeof(int) * descriptors.size());
      }
      EXPECT_EQ(::sendmsg(reader, &message, MSG_NOSIGNAL), static_cast<ssize_t>(sizeof copied));
      ::close(reader);
    });
  }
  /// Until it has hung up.
  void finish() {
    if (thread_.joinable()) thread_.join();
  }

 private:
  int socket_;
  std::thread thread_;
};

TEST_F(RegionDoorTest, AnOwnerThatSaysNothingIsGivenUp) {
  const FakeDoor silent;
  const auto begin = Clock::now();
  const std::vector<std::uint64_t> bytes{kRegionBytes};
  EXPECT_EQ(code(SharedRegions::attach(silent.name(), kSession, bytes, 200ms)), Code::kUnavailable);
  EXPECT_LT(Clock::now() - begin, test::kPatience);
}

std::size_t open_descriptors() {
  return static_cast<std::size_t>(
      std::distance(std::filesystem::directory_iterator("/proc/self/fd"), {}));
}

TEST_F(RegionDoorTest, WhatIsNotANodesMemoryIsNotMapped) {
  FakeDoor door;
  const auto page = must(pages_.make_page());
  const int region = region_.descriptor();
  const HandoverReply good{.regions = 1, .slots = kHazardSlots};
  const auto refused = [&](const HandoverReply& reply, const std::vector<int>& descriptors) {
    const auto before = open_descriptors();
    door.hand_over(reply, descriptors);
    const std::vector<std::uint64_t> bytes{kRegionBytes};
    const auto got = SharedRegions::attach(door.name(), kSession, bytes, 30s);
    door.finish();
    // The fixture's own door closes its end some time soon.
    EXPECT_TRUE(test::eventually([&] { return open_descriptors() <= before; }))
        << "a descriptor is left open";
    return code(got);
  };
  EXPECT_EQ(refused(good, {}), Code::kProtocol) << "nothing";
  EXPECT_EQ(refused(good, {page->descriptor()}), Code::kProtocol) << "no region";
  EXPECT_EQ(refused(good, std::vector<int>(100, region)), Code::kProtocol) << "too many";
  EXPECT_EQ(refused(good, std::vector<int>(kMaxRegionsHandedOver + 2, region)), Code::kProtocol)
      << "one too many";
  EXPECT_EQ(
      refused({.magic = 1, .regions = 1, .slots = kHazardSlots}, {page->descriptor(), region}),
      Code::kProtocol);
  EXPECT_EQ(refused({.regions = 2, .slots = kHazardSlots}, {page->descriptor(), region}),
            Code::kProtocol);
  EXPECT_EQ(refused({.regions = 1, .slots = 1}, {page->descriptor(), region}), Code::kProtocol);

  // What could be cut off, or is no memory at all.
  const int file = ::open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  if (file >= 0) {
    ASSERT_EQ(::ftruncate(file, kRegionBytes), 0);
    EXPECT_EQ(refused(good, {page->descriptor(), file}), Code::kUnavailable);
    EXPECT_EQ(refused(good, {file, region}), Code::kUnavailable);
    ::close(file);
  }
  const int null = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  EXPECT_EQ(refused(good, {page->descriptor(), null}), Code::kUnavailable);
  ::close(null);
  EXPECT_EQ(refused(good, {page->descriptor(), page->descriptor()}), Code::kUnavailable)
      << "shorter than announced";
  // Slots that cannot be written.
  EXPECT_EQ(refused(good, {region, region}), Code::kUnavailable);
}

}  // namespace
}  // namespace mempool::transport
