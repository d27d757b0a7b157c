// The names of everything that this layer makes in a spill directory. What does not match is not
// ours and is never touched.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include <sys/types.h>

namespace mempool::spill {

inline constexpr const char* kLockName = "lock";          // in every session
inline constexpr const char* kRetainedName = "retained";  // in the root

/// "1234-0123456789abcdef": process and incarnation.
std::string session_name(pid_t process, std::uint64_t incarnation);
bool is_session_name(std::string_view name);

/// "0123456789abcdef.blob": the object.
std::string blob_name(std::uint64_t object);
/// "0123456789abcdef-0123456789abcdef.blob": incarnation and object, since retained files of many
/// lives lie side by side.
std::string retained_name(std::uint64_t incarnation, std::uint64_t object);
/// ".mempool-0123456789abcdef.tmp", random.
std::string temporary_name();

bool is_temporary_name(std::string_view name);

/// A blob, a temporary or a lock: what may be deleted in a dead session's directory.
bool is_session_file(std::string_view name);

}  // namespace mempool::spill
