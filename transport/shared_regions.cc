#include "transport/shared_regions.h"

#include <bit>
#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <mempool/detail/fence.h>

namespace mempool::transport {
namespace {

/// The words that are verified, each by one load.
BlobHeader load_header(const std::byte* at) noexcept {
  const auto* header = reinterpret_cast<const BlobHeader*>(at);
  BlobHeader seen{};
  seen.magic = __atomic_load_n(&header->magic, __ATOMIC_ACQUIRE);
  seen.object = __atomic_load_n(&header->object, __ATOMIC_RELAXED);
  seen.generation = __atomic_load_n(&header->generation, __ATOMIC_RELAXED);
  seen.length = __atomic_load_n(&header->length, __ATOMIC_RELAXED);
  return seen;
}

Verdict verify_header_read_last(const std::byte* header, const ExpectedBlob& blob) noexcept {
  return verify(load_header(header), blob, Evidence::of_header_read_last());
}

/// Descriptors on their way into this process; what is not released is closed.
struct Descriptors {
  std::array<int, 1 + kMaxRegionsHandedOver> all{};
  std::size_t count = 0;
  ~Descriptors() {
    for (std::size_t i = 0; i < count; ++i) close(all[i]);
  }
};

tl::unexpected<Error> no_handover(const std::string& why) {
  return fail(Code::kUnavailable, "the memory of the node cannot be shared: " + why);
}

/// With a time limit, a socket's calls are not resumed after a signal's handler.
template <class SystemCall>
auto uninterrupted(SystemCall call) {
  for (;;)
    if (const auto done = call(); done >= 0 || errno != EINTR) return done;
}

Result<int> connect_to(const std::string& name, std::chrono::milliseconds timeout) {
  const std::string path = abstract_address(name);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() > sizeof address.sun_path) return no_handover("its name is too long");
  std::memcpy(address.sun_path, path.data(), path.size());
  const int socket = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (socket < 0) return no_handover(strerror(errno));
  const timeval limit{timeout.count() / 1000, (timeout.count() % 1000) * 1000};
  setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  setsockopt(socket, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size());
  const auto connected = uninterrupted(
      [&] { return connect(socket, reinterpret_cast<const sockaddr*>(&address), length); });
  if (connected == 0) return socket;
  const int error = errno;
  close(socket);
  if (error == ECONNREFUSED)
    return fail(Code::kNotFound, "it is on another host, or in a network of its own");
  return no_handover(strerror(error));
}

Status receive(int socket, Descriptors& descriptors, std::size_t expected) {
  HandoverReply reply;
  iovec bytes{&reply, sizeof reply};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof descriptors.all)> control{};
  msghdr message{};
  message.msg_iov = &bytes;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = CMSG_LEN(sizeof descriptors.all);  // without the room for one more
  const auto got =
      uninterrupted([&] { return recvmsg(socket, &message, MSG_CMSG_CLOEXEC | MSG_WAITALL); });
  const auto* header = CMSG_FIRSTHDR(&message);
  if (header && header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS) {
    descriptors.count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    std::memcpy(descriptors.all.data(), CMSG_DATA(header), descriptors.count * sizeof(int));
  }
  if (got == 0) return no_handover("it does not let this session in");
  if (got < 0) return no_handover(strerror(errno));
  const bool right = got == static_cast<ssize_t>(sizeof reply) &&
                     reply.magic == HandoverRequest::kMagic && reply.slots == kHazardSlots &&
                     reply.regions + 1 == descriptors.count && descriptors.count == expected + 1;
  if (!right) return fail(Code::kProtocol, "the node handed over something else than its memory");
  return {};
}

/// A file that its owner may cut off would be a SIGBUS here.
bool has_size_for_good(int descriptor, std::uint64_t bytes) {
  struct stat status {};
  const int seals = fcntl(descriptor, F_GET_SEALS);
  return seals >= 0 && (seals & F_SEAL_SHRINK) != 0 && fstat(descriptor, &status) == 0 &&
         static_cast<std::uint64_t>(status.st_size) >= bytes;
}

}  // namespace

Result<std::shared_ptr<SharedRegions>> SharedRegions::attach(
    const std::string& name, const SessionId& session, std::span<const std::uint64_t> region_bytes,
    std::chrono::milliseconds timeout) {
  if (region_bytes.size() > kMaxRegionsHandedOver) return no_handover("it has too many regions");
  auto socket = connect_to(name, timeout);
  if (!socket) return forward_error(std::move(socket));
  std::shared_ptr<SharedRegions> shared(new SharedRegions);
  shared->socket_ = *socket;
  const HandoverRequest request{.session = session};
  const auto sent =
      uninterrupted([&] { return send(*socket, &request, sizeof request, MSG_NOSIGNAL); });
  if (sent != sizeof request) return no_handover(strerror(errno));
  Descriptors descriptors;
  if (auto got = receive(*socket, descriptors, region_bytes.size()); !got)
    return forward_error(std::move(got));
  const std::span all(descriptors.all.data(), descriptors.count);
  if (auto mapped = shared->map(all, region_bytes); !mapped)
    return forward_error(std::move(mapped));
  return shared;
}

Status SharedRegions::map(std::span<const int> descriptors,
                          std::span<const std::uint64_t> region_bytes) {
  const auto map_one = [](int descriptor, std::size_t bytes, int protection) -> Result<void*> {
    if (!has_size_for_good(descriptor, bytes)) return no_handover("it is not sealed");
    void* mapped = mmap(nullptr, bytes, protection, MAP_SHARED | MAP_NORESERVE, descriptor, 0);
    if (mapped == MAP_FAILED) return no_handover(strerror(errno));
    madvise(mapped, bytes, MADV_DONTFORK);
    madvise(mapped, bytes, MADV_DONTDUMP);
    return mapped;
  };
  auto page = map_one(descriptors[0], sizeof(HazardPage), PROT_READ | PROT_WRITE);
  if (!page) return forward_error(std::move(page));
  page_ = static_cast<HazardPage*>(*page);
  for (std::size_t i = 0; i < region_bytes.size(); ++i) {
    auto region = map_one(descriptors[i + 1], region_bytes[i], PROT_READ);
    if (!region) return forward_error(std::move(region));
    regions_.push_back({static_cast<const std::byte*>(*region), region_bytes[i]});
  }
  return {};
}

SharedRegions::~SharedRegions() {
  for (const auto& region : regions_) munmap(const_cast<std::byte*>(region.data), region.bytes);
  if (page_) munmap(page_, sizeof *page_);
  if (socket_ >= 0) close(socket_);
}

// ---- reading ----

Verdict SharedRegions::copy(const LocationHint& hint, const ExpectedBlob& blob,
                            std::uint64_t offset, std::span<std::byte> out) const noexcept {
  const std::byte* header = header_of(hint);
  // The first look only spares a copy in vain; what counts is the second.
  if (verify_header_read_last(header, blob) == Verdict::kRejected) return Verdict::kRejected;
  if (!out.empty()) std::memcpy(out.data(), header + sizeof(BlobHeader) + offset, out.size());
  load_fence();
  return verify_header_read_last(header, blob);
}

std::optional<SharedRegions::InPlace> SharedRegions::show(const LocationHint& hint,
                                                          const ExpectedBlob& blob) {
  const std::byte* header = header_of(hint);
  __builtin_prefetch(header);
  const auto slot = take_slot();
  if (!slot) return std::nullopt;
  // The owner must see the slot before this looks at the header: then, if the header still shows
  // the blob, the owner's mark is still to come and its look at the slots after that.
  page_->slots[*slot].store(HazardPlace{hint.region, hint.offset}.word());
  full_fence();
  const auto verdict = verify_header_read_last(header, blob);
  if (verdict != Verdict::kAccepted) {
    free_slot(*slot);
    return InPlace{verdict, {}};
  }
  kept_[*slot] = shared_from_this();
  const std::span<const std::byte> bytes(header + sizeof(BlobHeader), blob.length);
  return InPlace{verdict,
                 View(bytes, Path::kSharedMemory, &SharedRegions::drop_view, this, &kept_[*slot])};
}

std::optional<std::size_t> SharedRegions::take_slot() noexcept {
  for (std::size_t i = 0; i < taken_.size(); ++i) {
    auto word = taken_[i].load(std::memory_order_relaxed);
    while (~word != 0) {
      const auto bit = static_cast<std::size_t>(std::countr_one(word));
      if (taken_[i].compare_exchange_weak(word, word | (std::uint64_t{1} << bit),
                                          std::memory_order_acquire))
        return i * kSlotsPerWord + bit;
    }
  }
  return std::nullopt;
}

void SharedRegions::free_slot(std::size_t slot) noexcept {
  // Everything that was read in place is read before the slot is empty.
  page_->slots[slot].store(0, std::memory_order_release);
  taken_[slot / kSlotsPerWord].fetch_and(~(std::uint64_t{1} << slot % kSlotsPerWord),
                                         std::memory_order_release);
}

void SharedRegions::drop_view(void* owner, void* kept) noexcept {
  auto* shared = static_cast<SharedRegions*>(owner);
  // A forked child has copies of its parent's views, and nothing of what they show.
  if (current_forks() != shared->forks_) return;
  auto* mine = static_cast<std::shared_ptr<SharedRegions>*>(kept);
  const auto slot = static_cast<std::size_t>(mine - shared->kept_.data());
  const auto last = std::move(*mine);
  shared->free_slot(slot);
}

}  // namespace mempool::transport
