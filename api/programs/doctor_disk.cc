// The spill directory: whether blobs can be written there, and what kind of place it is.
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <vector>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "api/programs/doctor.h"
#include "api/programs/machine.h"
#include "api/programs/nameless_file.h"
#include "api/programs/print.h"
#include "spill/error.h"

namespace mempool::programs {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kTriedBytes = 64 * 1024;

/// The directory itself, or what of the way to it is there.
fs::path nearest(fs::path directory) {
  std::error_code error;
  while (!fs::exists(directory, error) && directory.has_relative_path())
    directory = directory.parent_path();
  return directory;
}

/// In mountinfo a space is "\040".
std::string unescaped(const std::string& text) {
  std::string plain;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool escaped = text[i] == '\\' && i + 3 < text.size();
    plain += escaped ? static_cast<char>(std::stoi(text.substr(i + 1, 3), nullptr, 8)) : text[i];
    if (escaped) i += 3;
  }
  return plain;
}

/// "ext4", "tmpfs", "nfs4", ...
std::string file_system_of(const fs::path& place) {
  const auto path = fs::canonical(place).native() + "/";
  std::string type = "unknown";
  std::size_t longest = 0;
  std::ifstream mounts("/proc/self/mountinfo");
  for (std::string line; std::getline(mounts, line);) {
    std::istringstream fields(line);
    std::string skipped, point, word;
    fields >> skipped >> skipped >> skipped >> skipped >> point;
    while (fields >> word && word != "-") {
    }
    fields >> word;
    point = unescaped(point);
    if (!point.ends_with('/')) point += '/';
    // A later mount hides an earlier one at the same place.
    if (path.starts_with(point) && point.size() >= longest) {
      longest = point.size();
      type = word;
    }
  }
  return type;
}

/// What a node does there - write, lock and map a file - done with one that has no name.
class Trial {
 public:
  explicit Trial(const fs::path& place) : place_(place) {}

  /// Empty when all of it works, else what does not.
  std::string run() {
    const int fd = open_nameless(place_);
    if (fd < 0) {
      error_ = errno;
      return "a file cannot be made: " + spill::reason_of_creation(error_, place_);
    }
    const auto failure = use(fd);
    close(fd);
    return failure;
  }
  int error() const { return error_; }

 private:
  std::string failed(const std::string& what) {
    error_ = errno;
    return what + ": " + spill::reason_of(error_);
  }

  std::string use(int fd) {
    const std::vector<char> bytes(kTriedBytes, 'm');
    for (std::size_t written = 0; written < bytes.size();) {
      const auto n = write(fd, bytes.data() + written, bytes.size() - written);
      if (n < 0) return failed("a file cannot be written");
      written += static_cast<std::size_t>(n);
    }
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) return failed("a file cannot be locked");
    void* mapped = mmap(nullptr, kTriedBytes, PROT_READ, MAP_SHARED, fd, 0);
    if (mapped == MAP_FAILED) return failed("a file cannot be mapped");
    munmap(mapped, kTriedBytes);
    return {};
  }

  const fs::path place_;
  int error_ = 0;
};

Finding unusable(const std::string& sentence, const Commands& remedy) {
  return {Sign::kProblem, "spill directory", sentence, remedy};
}

const Commands kElsewhere{"mempoold --spill-dir DIR ..."};

Finding examine_writing(const fs::path& directory, const fs::path& place) {
  Trial trial(place);
  const auto failure = trial.run();
  const auto where =
      directory.native() + (place == directory ? "" : " (in " + place.native() + ")");
  if (failure.empty()) return {Sign::kFine, "spill directory", where + " takes blob files", {}};
  const bool rights = trial.error() == EACCES || trial.error() == EPERM;
  const bool full = trial.error() == ENOSPC || trial.error() == EDQUOT;
  const Commands remedy =
      rights ? Commands{as_root("install -d -o $USER " + directory.native())}
      : full ? Commands{"df -h " + place.native(), "df -i " + place.native(), kElsewhere[0]}
             : kElsewhere;
  return unusable(where + " is of no use: " + failure, remedy);
}

Finding examine_room(const struct statvfs& room, const PoolOptions& options) {
  const std::uint64_t free = room.f_bavail * room.f_frsize;
  const auto wanted = options.max_disksize ? options.max_disksize : options.max_memsize;
  const auto sentence = human_bytes(free) + " are free for spilled blobs; " +
                        (options.max_disksize ? "max-disksize" : "max-memsize") + " is " +
                        human_bytes(wanted);
  if (free < kTriedBytes)
    return {Sign::kProblem, "spill room", "the disk is full: " + sentence, kElsewhere};
  if (room.f_files != 0 && room.f_favail == 0)
    return {Sign::kProblem, "spill room", "the file system has no inodes left: " + sentence,
            kElsewhere};
  if (free < wanted) return {Sign::kWarning, "spill room", sentence, kElsewhere};
  return {Sign::kFine, "spill room", sentence, {}};
}

Finding examine_file_system(const fs::path& place) {
  const auto type = file_system_of(place);
  const auto what = "the file system is " + type;
  if (type == "tmpfs" || type == "ramfs")
    return {Sign::kWarning, "spill file system", what + ": spilled blobs take memory all the same",
            kElsewhere};
  for (const char* network : {"nfs", "cifs", "smb", "fuse.sshfs", "ceph", "9p", "afs"})
    if (type.starts_with(network))
      return {Sign::kWarning, "spill file system",
              what + ": spilled blobs come back over the network", kElsewhere};
  return {Sign::kFine, "spill file system", what, {}};
}

}  // namespace

Findings examine_spill_directory(const PoolOptions& options) {
  if (options.spill_dir.empty())
    return {{Sign::kFine,
             "spill directory",
             "none is wanted: what max-memsize has no room for is discarded or refused",
             {}}};
  std::error_code error;
  const auto directory = fs::absolute(options.spill_dir, error).lexically_normal();
  if (error) return {unusable("spill-dir is no path: \"" + options.spill_dir + "\"", kElsewhere)};
  const auto place = nearest(directory);
  if (!fs::is_directory(place, error))
    return {
        unusable(place.native() + " is " + (error ? error.message() : "no directory"), kElsewhere)};
  const auto writing = examine_writing(directory, place);
  if (::access(place.c_str(), X_OK) != 0) return {writing};
  Findings findings{writing, examine_file_system(place)};
  // Such as /proc, which has no room to speak of.
  struct statvfs room {};
  if (statvfs(place.c_str(), &room) == 0 && room.f_blocks != 0)
    findings.push_back(examine_room(room, options));
  return findings;
}

}  // namespace mempool::programs
