// The commands of `mempool`: each takes a connected client and what its command line said, prints
// its result on standard output, and returns a status.
#pragma once

#include <string>
#include <vector>

#include <mempool/mempool.h>

#include "api/programs/source_file.h"

namespace mempool::programs {

/// "HOST:PORT" or a node id of the cluster; empty: 0, any node.
Result<std::uint64_t> find_node(Pool& pool, const std::string& name);

/// Stores all of a file or, should it shrink meanwhile, nothing: then SourceFile::whole() says so.
Result<DRef> store(Pool& pool, const SourceFile& source, const SetOptions& options);

struct SetCommand {
  std::string file;
  std::string on;
  SetOptions options;
};
Status set(Pool& pool, SetCommand command);
Status get(Pool& pool, const std::string& ref, const std::string& output);
Status remove(Pool& pool, const std::vector<std::string>& refs);
Status move_to_disk(Pool& pool, const std::string& ref);
Status copy_to_disk(Pool& pool, const std::string& ref);
Status save_to_disk(Pool& pool, const std::string& ref, const std::string& path, bool force);
Status prefetch(Pool& pool, const std::string& ref);
Status adopt(Pool& pool, const std::string& file_ref, const std::string& on);
Status inspect(Pool& pool, const std::string& ref, bool json);
Status nodes(Pool& pool, bool json);
Status stats(Pool& pool, const std::string& node, bool json);

struct LoadCommand {
  std::string directory;
  std::string on;  // empty: all nodes in turn
  SetOptions options;
  bool quiet = false;
};
/// What cannot be read is named on standard error, and is an error when all else is stored. Prints
/// a manifest: one line a file, path, size in bytes and reference, with tabs between; tab, newline
/// and backslash in a path are written \t, \n and \\.
Status load(Pool& pool, const LoadCommand& command);

struct VerifyCommand {
  std::string manifest;
  bool json = false;
  bool quiet = false;
};
/// Reads every blob of a manifest in random order and compares its SHA-256 with the file's.
Status verify(Pool& pool, const VerifyCommand& command);

}  // namespace mempool::programs
