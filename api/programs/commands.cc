#include "api/programs/commands.h"

#include <algorithm>

#include "api/programs/command_line.h"
#include "api/programs/output_file.h"
#include "api/programs/print.h"
#include "api/programs/source_file.h"

namespace mempool::programs {
namespace {

constexpr std::uint64_t kPartBytes = std::uint64_t{8} << 20;

template <class Ref>
Status print_ref(const Result<Ref>& ref) {
  if (!ref) return tl::unexpected(ref.error());
  return print(ref->to_string() + "\n");
}

bool is_file_ref(const std::string& text) {
  return text.starts_with("file");
}

Status copy_parts(Pool& pool, const DRef& ref, OutputFile& out) {
  std::vector<std::byte> part(std::min(kPartBytes, ref.length));
  std::uint64_t at = 0;
  do {  // once also for an empty blob: it may not be there
    const auto bytes = std::span(part).first(std::min<std::uint64_t>(part.size(), ref.length - at));
    if (auto read = pool.poolread(ref, at, bytes); !read) return read;
    if (auto written = out.write(bytes); !written) return written;
    at += bytes.size();
  } while (at < ref.length);
  return {};
}

}  // namespace

Result<std::uint64_t> find_node(Pool& pool, const std::string& name) {
  if (name.empty()) return 0;
  auto nodes = pool.nodes();
  if (!nodes) return forward_error(std::move(nodes));
  std::string known;
  for (const auto& node : *nodes) {
    if (node.address == name || node_text(node.id) == name) return node.id;
    known += "\n  " + node_text(node.id) + "  " + node.address;
  }
  return fail(Code::kNotFound, "no node " + name + " in the cluster; known are" + known);
}

Result<DRef> store(Pool& pool, const SourceFile& source, const SetOptions& options) {
  auto ref = pool.poolset(source.bytes(), options);
  auto whole = source.whole();
  if (whole) return ref;
  // Nobody is told of it; should it not go now, then with its node.
  if (ref) static_cast<void>(pool.pooldelete(*ref));
  return forward_error(std::move(whole));
}

Status set(Pool& pool, SetCommand command) {
  auto node = find_node(pool, command.on);
  if (!node) return forward_error(std::move(node));
  command.options.node = *node;
  auto source = SourceFile::open(command.file);
  if (!source) return forward_error(std::move(source));
  return print_ref(store(pool, *source, command.options));
}

Status get(Pool& pool, const std::string& text, const std::string& output) {
  if (is_file_ref(text)) {
    auto ref = FileRef::parse(text);
    if (!ref) return forward_error(std::move(ref));
    auto view = pool.poolget(*ref);
    if (!view) return forward_error(std::move(view));
    auto out = OutputFile::open(output);
    if (!out) return forward_error(std::move(out));
    if (auto written = out->write(view->bytes()); !written) return written;
    return out->finish();
  }
  auto ref = DRef::parse(text);
  if (!ref) return forward_error(std::move(ref));
  auto out = OutputFile::open(output);
  if (!out) return forward_error(std::move(out));
  if (auto copied = copy_parts(pool, *ref, *out); !copied) return copied;
  return out->finish();
}

Status remove(Pool& pool, const std::vector<std::string>& refs) {
  // All are tried, so that one that is gone does not keep the others alive.
  Status first;
  for (const auto& text : refs) {
    auto ref = DRef::parse(text);
    Status status = ref ? pool.pooldelete(*ref) : Status(tl::unexpected(ref.error()));
    if (!status && first) first = std::move(status);
  }
  return first;
}

Status move_to_disk(Pool& pool, const std::string& text) {
  auto ref = DRef::parse(text);
  if (!ref) return forward_error(std::move(ref));
  return print_ref(pool.movetodisk(*ref));
}

Status copy_to_disk(Pool& pool, const std::string& text) {
  auto ref = DRef::parse(text);
  if (!ref) return forward_error(std::move(ref));
  return print_ref(pool.copytodisk(*ref));
}

Status save_to_disk(Pool& pool, const std::string& text, const std::string& path, bool force) {
  auto ref = DRef::parse(text);
  if (!ref) return forward_error(std::move(ref));
  return print_ref(pool.savetodisk(*ref, path, {.overwrite = force}));
}

Status prefetch(Pool& pool, const std::string& text) {
  auto ref = DRef::parse(text);
  if (!ref) return forward_error(std::move(ref));
  return pool.prefetch(*ref);
}

Status adopt(Pool& pool, const std::string& text, const std::string& on) {
  auto ref = FileRef::parse(text);
  if (!ref) return forward_error(std::move(ref));
  auto node = find_node(pool, on);
  if (!node) return forward_error(std::move(node));
  return print_ref(pool.adopt(*ref, {.node = *node}));
}

Status inspect(Pool& pool, const std::string& text, bool json) {
  auto ref = DRef::parse(text);
  if (!ref) return forward_error(std::move(ref));
  auto info = pool.inspect(*ref);
  if (!info) return forward_error(std::move(info));
  return print(show(*info, json));
}

Status nodes(Pool& pool, bool json) {
  auto all = pool.nodes();
  if (!all) return forward_error(std::move(all));
  return print(show(*all, json));
}

Status stats(Pool& pool, const std::string& node, bool json) {
  auto id = find_node(pool, node);
  if (!id) return forward_error(std::move(id));
  auto found = pool.stats(*id);
  if (!found) return forward_error(std::move(found));
  return print(show(*found, json));
}

}  // namespace mempool::programs
