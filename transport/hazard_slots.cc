#include "transport/hazard_slots.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

namespace mempool::transport {

HazardPages::Page::Page(HazardPages& all, int descriptor, const HazardPage* page) noexcept
    : all_(all), descriptor_(descriptor), page_(page) {}

HazardPages::Page::~Page() {
  {
    std::lock_guard lock(all_.mutex_);
    std::erase(all_.pages_, page_);
    all_.count_ = all_.pages_.size();
  }
  munmap(const_cast<HazardPage*>(page_), sizeof(HazardPage));
  close(descriptor_);
}

Result<std::unique_ptr<HazardPages::Page>> HazardPages::make_page() {
  const int descriptor = memfd_create("mempool-slots", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (descriptor < 0)
    return fail(Code::kLimit, std::string("cannot make the slots of a reader: ") + strerror(errno));
  // Sealed, or a reader could cut the page off under the owner's eyes, which is a SIGBUS.
  void* page = MAP_FAILED;
  if (ftruncate(descriptor, sizeof(HazardPage)) == 0 &&
      fcntl(descriptor, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0)
    page = mmap(nullptr, sizeof(HazardPage), PROT_READ, MAP_SHARED, descriptor, 0);
  if (page == MAP_FAILED) {
    const int error = errno;
    close(descriptor);
    return fail(Code::kLimit, std::string("cannot make the slots of a reader: ") + strerror(error));
  }
  madvise(page, sizeof(HazardPage), MADV_DONTFORK);
  std::unique_ptr<Page> made(new Page(*this, descriptor, static_cast<const HazardPage*>(page)));
  std::lock_guard lock(mutex_);
  pages_.push_back(made->page_);
  count_ = pages_.size();
  return made;
}

void HazardPages::collect(std::vector<HazardPlace>& held) const {
  if (count_.load() == 0) return;
  std::lock_guard lock(mutex_);
  for (const auto* page : pages_)
    for (const auto& slot : page->slots)
      if (auto place = HazardPlace::of_word(slot.load())) held.push_back(*place);
}

}  // namespace mempool::transport
