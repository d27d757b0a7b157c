// What a process knows of files that it did not write, so that opening a file again is no reason to
// check it again: for each file one State, which all its Files share.
//
// Thread safety: any thread.
#include <compare>
#include <list>
#include <map>
#include <utility>

#include <mempool/detail/forks.h>

#include "spill/file_state.h"

namespace mempool::spill {
namespace {

/// Not the path: a file may have several. Other bytes have another header.
struct FileKey {
  std::uint64_t device;
  std::uint64_t inode;
  std::uint64_t header_checksum;
  friend auto operator<=>(const FileKey&, const FileKey&) = default;
};

/// The files that were opened last. The State of one that is left out lives as long as its Files.
template <class State>
class KnownFiles {
 public:
  /// A forked child begins with none: threads that it does not have may have held the locks.
  static KnownFiles& of_this_process();

  std::shared_ptr<State> find_or_add(const FileKey& key);

 private:
  static constexpr std::size_t kMost = 1024;  // a few hundred bytes each

  explicit KnownFiles(KnownFiles* parents) : parents_(parents) {}

  KnownFiles* const parents_;  // for leak checkers: it is never freed
  const unsigned forks_ = current_forks();
  std::mutex mutex_;
  std::list<std::pair<FileKey, std::shared_ptr<State>>> recent_;  // the last opened first
  std::map<FileKey, typename decltype(recent_)::iterator> places_;
};

template <class State>
KnownFiles<State>& KnownFiles<State>::of_this_process() {
  static std::atomic<KnownFiles*> current{new KnownFiles(nullptr)};
  auto* known = current.load();
  while (known->forks_ != current_forks()) {
    auto fresh = std::unique_ptr<KnownFiles>(new KnownFiles(known));
    if (current.compare_exchange_strong(known, fresh.get())) return *fresh.release();
  }
  return *known;
}

template <class State>
std::shared_ptr<State> KnownFiles<State>::find_or_add(const FileKey& key) {
  std::lock_guard lock(mutex_);
  if (const auto place = places_.find(key); place != places_.end()) {
    recent_.splice(recent_.begin(), recent_, place->second);
    return recent_.front().second;
  }
  recent_.emplace_front(key, std::make_shared<State>());
  recent_.front().second->header_checksum = key.header_checksum;
  places_.emplace(key, recent_.begin());
  if (recent_.size() > kMost) {
    places_.erase(recent_.back().first);
    recent_.pop_back();
  }
  return places_.at(key)->second;
}

}  // namespace

std::shared_ptr<File::State> File::State::of(const Stamp& found, std::uint64_t header_checksum) {
  return KnownFiles<State>::of_this_process().find_or_add(
      {found.device, found.inode, header_checksum});
}

}  // namespace mempool::spill
