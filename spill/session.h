// Session directories: made, held by a lock, and removed when their process is dead.
//
// A living session holds flock on its lock file. Sessions are made and claimed under the root's
// lock, and the last thing that leaves a session is its lock file, still locked: a lock file that
// can be locked and still has its name belongs to a dead session. The root's lock file goes with
// the last session, held as well: who locks it and finds it without a name starts anew.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "spill/descriptor.h"

namespace mempool::spill {

struct Session {
  std::filesystem::path path;
  Descriptor lock;
};

/// Makes `root` and what leads to it.
Status make_root(const std::filesystem::path& root);

/// Removes the directories of dead sessions and says how many.
Result<std::uint64_t> sweep_dead_sessions(const std::filesystem::path& root);

/// Makes and locks a directory. Exists if there is one of that name.
Result<Session> make_session(const std::filesystem::path& root, const std::string& name);

/// Removes the files that are a session's and, if nothing else is there, the directory. The lock
/// must be held. False if the directory is still there.
bool remove_session(const Session& session) noexcept;

/// Removes the root's lock file if nothing else is there. The root stays: it may be the user's.
void remove_root_lock(const std::filesystem::path& root) noexcept;

}  // namespace mempool::spill
