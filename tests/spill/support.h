// What the tests of blob files share beyond tests/support.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "spill/spill.h"
#include "support/child.h"
#include "support/files.h"
#include "support/results.h"

namespace mempool::spill::test {

namespace fs = std::filesystem;

using mempool::test::become_nobody;
using mempool::test::code;
using mempool::test::copy_of;
using mempool::test::flip;
using mempool::test::in_child;
using mempool::test::let_the_clock_tick;
using mempool::test::message;
using mempool::test::pattern;
using Place = mempool::test::TemporaryDirectory;

inline BlobMeta meta_of(std::uint64_t length, std::uint64_t object = 42) {
  return {.id = {.cluster = 11, .node = 22, .incarnation = 33, .object = object},
          .length = length,
          .type_name = "Vector{Float64}"};
}

inline Result<File> write_blob(const fs::path& path, std::span<const std::byte> bytes,
                               std::uint64_t object = 42, bool overwrite = false) {
  auto writer = Writer::create(path, meta_of(bytes.size(), object), overwrite);
  if (!writer) return forward_error(std::move(writer));
  if (auto appended = writer->append(bytes); !appended) return forward_error(std::move(appended));
  return writer->finish(false);
}

}  // namespace mempool::spill::test
