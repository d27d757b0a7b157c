// Session directories: made, held by a lock, and removed when their process is dead.
//
// A living session holds flock on its lock file, which gets its name when it is locked and is the
// last thing to leave: a lock file that can be locked and still has its name belongs to a dead
// session. A directory without one is being made or removed, or was left by who died over that;
// only its age tells. There is no other lock, which somebody could leave behind.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "spill/descriptor.h"

namespace mempool::spill {

struct Session {
  std::filesystem::path path;
  Descriptor lock;
  bool made_root = false;  // so that the root goes with it
};

/// Removes the directories of dead sessions and says how many.
std::uint64_t sweep_dead_sessions(const std::filesystem::path& root);

/// Makes and locks a directory, and `root` if need be. Exists if there is one of that name.
Result<Session> make_session(const std::filesystem::path& root, const std::string& name);

/// Removes the files that are a session's and, if nothing else is there, the directory. The lock
/// must be held, if there is one. False if the directory is still there.
bool remove_session(const Session& session) noexcept;

}  // namespace mempool::spill
