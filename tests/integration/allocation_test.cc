// Warm gets allocate nothing: counted where every allocation of this process passes.
#include <cerrno>
#include <cstdint>
#include <cstdlib>

#include "cluster_fixture.h"

namespace {

thread_local std::uint64_t allocations = 0;

}  // namespace

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)

// A program that defines these has them used by every library; glibc's own stay reachable by these
// names. operator new asks malloc.
extern "C" {

void* __libc_malloc(std::size_t);
void* __libc_calloc(std::size_t, std::size_t);
void* __libc_realloc(void*, std::size_t);
void* __libc_memalign(std::size_t, std::size_t);
void __libc_free(void*);

void* malloc(std::size_t bytes) noexcept {
  ++allocations;
  return __libc_malloc(bytes);
}
void* calloc(std::size_t count, std::size_t bytes) noexcept {
  ++allocations;
  return __libc_calloc(count, bytes);
}
void* realloc(void* memory, std::size_t bytes) noexcept {
  ++allocations;
  return __libc_realloc(memory, bytes);
}
void* memalign(std::size_t alignment, std::size_t bytes) noexcept {
  ++allocations;
  return __libc_memalign(alignment, bytes);
}
void* aligned_alloc(std::size_t alignment, std::size_t bytes) noexcept {
  return memalign(alignment, bytes);
}
int posix_memalign(void** memory, std::size_t alignment, std::size_t bytes) noexcept {
  *memory = memalign(alignment, bytes);
  return *memory ? 0 : ENOMEM;
}
void free(void* memory) noexcept {
  __libc_free(memory);
}
}

#endif

namespace mempool::test {
namespace {

/// By shared memory, and over the best provider, which allocates nothing either.
class AllocationTest : public ProviderTest {
 protected:
  void SetUp() override {
    ProviderTest::SetUp();
    if (kSanitized) GTEST_SKIP() << "SKIPPED: sanitizers have an allocator of their own";
  }

  template <class Body>
  static std::uint64_t allocated_by(Body body) {
    const auto before = allocations;
    body();
    return allocations - before;
  }
};
INSTANTIATE_TEST_SUITE_P(Over, AllocationTest, ::testing::Values("best", "shared"), provider_name);

TEST_P(AllocationTest, WarmGetsDoWithout) {
  constexpr std::uint64_t kBlobs = 50;
  const std::uint64_t gets = over_a_fabric() ? 2'000 : 1'000'000;
  Daemon node(spill_directory("a"), only());
  auto client = client_of(node);
  std::vector<DRef> refs;
  EXPECT_GT(allocated_by([&] { refs.push_back(set(client, 0, 4096)); }), 0U)
      << "the count misses what the library allocates";
  for (std::uint64_t i = 1; i < kBlobs; ++i) refs.push_back(set(client, i, 4096));
  auto buffer = must(client.buffer(4096));
  Bytes range(1000);
  // A report of what was read is none of a get's doing; one begins in 100 ms.
  const GetOptions options{.touch = false};
  const auto into_buffer = [&](const DRef& ref) { must(client.poolget(ref, buffer, options)); };
  const auto into_view = [&](const DRef& ref) {
    ASSERT_EQ(must(client.poolget(ref, options)).path(), kind());
  };
  const auto of_range = [&](const DRef& ref) { must(client.poolread(ref, 100, range, options)); };
  const auto all = [&](std::uint64_t count, auto get) {
    for (std::uint64_t i = 0; i < count; ++i) get(refs[i % kBlobs]);
  };
  all(kBlobs, into_buffer);
  all(kBlobs, into_view);
  all(kBlobs, of_range);
  EXPECT_EQ(allocated_by([&] { all(gets, into_buffer); }), 0U);
  EXPECT_EQ(allocated_by([&] { all(gets, into_view); }), 0U);
  EXPECT_EQ(allocated_by([&] { all(gets, of_range); }), 0U);
}

}  // namespace
}  // namespace mempool::test
