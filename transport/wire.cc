#include "transport/wire.h"

#include <bit>
#include <climits>
#include <cstring>
#include <string_view>

#include <flatbuffers/flatbuffers.h>

#include "wire_generated.h"

namespace mempool::transport {
namespace {

using flatbuffers::FlatBufferBuilder;
using flatbuffers::Offset;

// ---- plain values to FlatBuffers ----

wire::BlobId pack(const BlobId& id) {
  return {id.cluster, id.node, id.incarnation, id.object};
}

wire::DRef pack(const DRef& ref) {
  return {pack(ref.id), ref.length, ref.hint.offset, ref.hint.generation, ref.hint.region};
}

Offset<wire::FileRef> pack(FlatBufferBuilder& b, const FileRef& ref) {
  if (ref.path.empty()) return 0;
  const auto path = b.CreateString(ref.path);
  const auto id = pack(ref.id);
  return wire::CreateFileRef(b, path, ref.offset, ref.length, &id);
}

Offset<wire::Node> pack(FlatBufferBuilder& b, const NodeInfo& node) {
  const auto address = b.CreateString(node.address);
  const auto providers = b.CreateVectorOfStrings(node.providers);
  const auto bound = b.CreateString(node.bound);
  return wire::CreateNode(b, node.id, address, node.incarnation, node.alive, providers, bound);
}

using NodeVector = flatbuffers::Vector<Offset<wire::Node>>;

Offset<NodeVector> pack(FlatBufferBuilder& b, const std::vector<NodeInfo>& nodes) {
  if (nodes.empty()) return 0;
  std::vector<Offset<wire::Node>> packed;
  for (const auto& node : nodes) packed.push_back(pack(b, node));
  return b.CreateVector(packed);
}

Offset<flatbuffers::Vector<std::uint8_t>> pack(FlatBufferBuilder& b,
                                               const std::vector<std::byte>& bytes) {
  return b.CreateVector(reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size());
}

Offset<wire::Provider> pack(FlatBufferBuilder& b, const ProviderOffer& offer) {
  const auto name = b.CreateString(offer.name);
  const auto address = pack(b, offer.address);
  const auto keys = b.CreateVector(offer.keys);
  const auto bases = b.CreateVector(offer.bases);
  return wire::CreateProvider(b, name, address, keys, bases);
}

Offset<wire::BlobInfo> pack(FlatBufferBuilder& b, const BlobInfo& info) {
  const auto type_name = b.CreateString(info.type_name);
  const auto file = b.CreateString(info.file);
  return wire::CreateBlobInfo(b, type_name, info.in_memory, info.on_disk, info.pins,
                              info.drop_on_evict, info.retain, file);
}

Offset<wire::Stats> pack(FlatBufferBuilder& b, const Stats& s) {
  std::vector<Offset<wire::PathStats>> paths;
  for (const auto& [name, path] : s.gets_by_path)
    paths.push_back(wire::CreatePathStats(b, b.CreateString(name), path.gets, path.bytes));
  const auto by_path = b.CreateVector(paths);
  std::vector<Offset<wire::Count>> retries;
  for (const auto& [name, count] : s.retries)
    retries.push_back(wire::CreateCount(b, b.CreateString(name), count));
  const StoreStats& store = s.store;
  return wire::CreateStats(
      b, s.node, store.payload_bytes, store.max_memsize, store.capacity_bytes, store.blobs,
      store.blobs_in_memory, store.blobs_on_disk, store.disk_bytes, store.max_disksize,
      store.spilled_bytes, store.hits, store.misses, store.evictions, store.fragmentation_evictions,
      store.quarantined_bytes, store.pinned_blobs, by_path, s.requests_served, s.sessions,
      s.rss_bytes, s.recency_reports, b.CreateVector(retries), s.path_changes);
}

/// Errors repeat paths and names of requests, and the peer takes no text without limit. They end
/// with the reason: what goes is the middle.
std::string shortened(const std::string& message) {
  constexpr std::size_t kMaxBytes = 4 << 10;
  constexpr std::string_view kCut = "...";
  if (message.size() <= kMaxBytes) return message;
  const auto kept = (kMaxBytes - kCut.size()) / 2;
  return message.substr(0, kept).append(kCut).append(message, message.size() - kept);
}

template <class T>
std::vector<std::byte> finish(FlatBufferBuilder& b, wire::Body type, Offset<T> body) {
  b.Finish(wire::CreateMessage(b, type, body.Union()), wire::MessageIdentifier());
  const auto* begin = reinterpret_cast<const std::byte*>(b.GetBufferPointer());
  return {begin, begin + b.GetSize()};
}

// ---- FlatBuffers to plain values; every optional field may be absent ----
//
// The offsets of a small message may all point at one large table: what is copied is limited here,
// not by the message's size. Thrown inside decode() only, which makes it an error.

struct TooMuch {};

constexpr std::size_t kMaxTextBytes = 64 << 10;
constexpr std::size_t kMaxNameBytes = 512;  // an address, or a provider's name
constexpr std::size_t kMaxProviders = 16;
constexpr std::size_t kMaxProviderAddressBytes = 1024;
constexpr std::size_t kMaxRegions = 4096;
constexpr std::size_t kMaxNodes = 1100;  // members, and the node itself
constexpr std::size_t kMaxPaths = 64;

template <class Vector>
void limit(const Vector* v, std::size_t most) {
  if (v && v->size() > most) throw TooMuch();
}

std::string text(const flatbuffers::String* s, std::size_t most = kMaxTextBytes) {
  limit(s, most);
  return s ? s->str() : std::string();
}

template <class T>
std::vector<T> list(const flatbuffers::Vector<T>* v) {
  limit(v, kMaxRegions);
  std::vector<T> copy(v ? v->size() : 0);
  // FlatBuffers' verifier does not see to the alignment of what stands in a vector.
  static_assert(std::endian::native == std::endian::little);
  if (!copy.empty()) std::memcpy(copy.data(), v->Data(), copy.size() * sizeof(T));
  return copy;
}

std::vector<std::byte> bytes(const flatbuffers::Vector<std::uint8_t>* v) {
  limit(v, kMaxProviderAddressBytes);
  if (!v) return {};
  const auto* begin = reinterpret_cast<const std::byte*>(v->data());
  return {begin, begin + v->size()};
}

BlobId unpack(const wire::BlobId* id) {
  if (!id) return {};
  return {id->cluster(), id->node(), id->incarnation(), id->object()};
}

DRef unpack(const wire::DRef* ref) {
  if (!ref) return {};
  return {unpack(&ref->id()), ref->length(), {ref->region(), ref->offset(), ref->generation()}};
}

FileRef unpack(const wire::FileRef* ref) {
  if (!ref) return {};
  return {text(ref->path()), ref->offset(), ref->length(), unpack(ref->id())};
}

std::vector<NodeInfo> unpack(const NodeVector* nodes) {
  std::vector<NodeInfo> out;
  limit(nodes, kMaxNodes);
  if (!nodes) return out;
  for (const auto* node : *nodes) {
    limit(node->providers(), kMaxProviders);
    NodeInfo info{
        node->id(), text(node->address(), kMaxNameBytes), node->incarnation(), node->alive(), {}};
    if (node->providers())
      for (const auto* name : *node->providers())
        info.providers.push_back(text(name, kMaxNameBytes));
    info.bound = text(node->bound(), kMaxNameBytes);
    out.push_back(std::move(info));
  }
  return out;
}

ProviderOffer unpack(const wire::Provider& p) {
  return {text(p.name()), bytes(p.address()), list(p.keys()), list(p.bases())};
}

Hello unpack(const wire::Hello& h) {
  Hello hello;
  hello.cluster = h.cluster();
  hello.node = h.node();
  hello.incarnation = h.incarnation();
  hello.session_high = h.session_high();
  hello.session_low = h.session_low();
  hello.address = text(h.address());
  hello.authentication = bytes(h.authentication());
  limit(h.providers(), kMaxProviders);
  if (h.providers())
    for (const auto* p : *h.providers()) hello.providers.push_back(unpack(*p));
  hello.region_bytes = list(h.region_bytes());
  hello.read_window_ms = h.read_window_ms();
  hello.quarantine_ms = h.quarantine_ms();
  hello.lease_ms = h.lease_ms();
  hello.members = unpack(h.members());
  hello.door = text(h.door(), kMaxNameBytes);
  hello.bound = text(h.bound(), kMaxNameBytes);
  return hello;
}

Request unpack(const wire::Request& r) {
  Request request;
  request.id = r.id();
  request.op = static_cast<Op>(r.op());
  request.blob = unpack(r.blob());
  request.offset = r.offset();
  request.length = r.length();
  request.release = r.release();
  request.timeout_ms = r.timeout_ms();
  if (const auto* options = r.options()) {
    request.options.type_name = text(options->type_name());
    request.options.drop_on_evict = options->drop_on_evict();
    request.options.retain = options->retain();
  }
  request.file = unpack(r.file());
  request.peek = r.peek();
  if (r.source()) request.source = unpack(*r.source());
  return request;
}

BlobInfo unpack(const wire::BlobInfo* i) {
  BlobInfo info;
  if (!i) return info;
  info.type_name = text(i->type_name());
  info.in_memory = i->in_memory();
  info.on_disk = i->on_disk();
  info.pins = i->pins();
  info.drop_on_evict = i->drop_on_evict();
  info.retain = i->retain();
  info.file = text(i->file());
  return info;
}

Stats unpack(const wire::Stats* s) {
  Stats stats;
  if (!s) return stats;
  stats.node = s->node();
  stats.store = {.payload_bytes = s->payload_bytes(),
                 .max_memsize = s->max_memsize(),
                 .capacity_bytes = s->capacity_bytes(),
                 .blobs = s->blobs(),
                 .blobs_in_memory = s->blobs_in_memory(),
                 .blobs_on_disk = s->blobs_on_disk(),
                 .disk_bytes = s->disk_bytes(),
                 .max_disksize = s->max_disksize(),
                 .spilled_bytes = s->spilled_bytes(),
                 .hits = s->hits(),
                 .misses = s->misses(),
                 .evictions = s->evictions(),
                 .fragmentation_evictions = s->fragmentation_evictions(),
                 .quarantined_bytes = s->quarantined_bytes(),
                 .pinned_blobs = s->pinned_blobs()};
  limit(s->gets_by_path(), kMaxPaths);
  if (s->gets_by_path())
    for (const auto* p : *s->gets_by_path())
      stats.gets_by_path[text(p->name())] = {p->gets(), p->bytes()};
  stats.requests_served = s->requests_served();
  stats.sessions = s->sessions();
  stats.rss_bytes = s->rss_bytes();
  stats.recency_reports = s->recency_reports();
  limit(s->retries(), kMaxPaths);
  if (s->retries())
    for (const auto* r : *s->retries()) stats.retries[text(r->name(), kMaxNameBytes)] = r->count();
  stats.path_changes = s->path_changes();
  return stats;
}

Reply unpack(const wire::Reply& r) {
  Reply reply;
  reply.id = r.id();
  reply.code = static_cast<Code>(r.code());
  reply.message = text(r.message());
  reply.ref = unpack(r.ref());
  reply.file = unpack(r.file());
  reply.info = unpack(r.info());
  reply.nodes = unpack(r.nodes());
  reply.stats = unpack(r.stats());
  if (const auto* s = r.stamp())
    reply.stamp = {s->device(), s->inode(), s->size(), s->modified_ns(), s->changed_ns()};
  return reply;
}

}  // namespace

std::vector<std::byte> encode(const Hello& h) {
  FlatBufferBuilder b;
  std::vector<Offset<wire::Provider>> offers;
  for (const auto& offer : h.providers) offers.push_back(pack(b, offer));
  const auto providers = b.CreateVector(offers);
  const auto address = b.CreateString(h.address);
  const auto authentication = pack(b, h.authentication);
  const auto regions = b.CreateVector(h.region_bytes);
  const auto members = pack(b, h.members);
  const auto door = h.door.empty() ? 0 : b.CreateString(h.door);
  const auto bound = h.bound.empty() ? 0 : b.CreateString(h.bound);
  return finish(
      b, wire::Body::Hello,
      wire::CreateHello(b, h.cluster, h.node, h.incarnation, h.session_high, h.session_low, address,
                        authentication, providers, regions, h.read_window_ms, h.quarantine_ms,
                        h.lease_ms, members, door, bound));
}

Status check(const Request& r) {
  const auto too_long = [](const char* what, const std::string& text) {
    return fail(Code::kInvalidArgument, std::string(what) + " of " + std::to_string(text.size()) +
                                            " bytes is longer than a request takes");
  };
  if (r.options.type_name.size() > kMaxTextBytes)
    return too_long("a type name", r.options.type_name);
  if (r.file.path.size() > PATH_MAX) return too_long("a path", r.file.path);
  return {};
}

std::vector<std::byte> encode(const Request& r) {
  FlatBufferBuilder b(256);
  const auto type_name = b.CreateString(r.options.type_name);
  const auto options =
      wire::CreateSetOptions(b, type_name, r.options.drop_on_evict, r.options.retain);
  const auto file = pack(b, r.file);
  const auto source = r.source.name.empty() ? 0 : pack(b, r.source);
  const auto blob = pack(r.blob);
  return finish(
      b, wire::Body::Request,
      wire::CreateRequest(b, r.id, static_cast<std::uint8_t>(r.op), &blob, r.offset, r.length,
                          r.release, r.timeout_ms, options, file, r.peek, source));
}

std::vector<std::byte> encode(const Reply& r) {
  FlatBufferBuilder b(256);
  const auto message = r.message.empty() ? 0 : b.CreateString(shortened(r.message));
  const auto file = pack(b, r.file);
  const auto info = pack(b, r.info);
  const auto nodes = pack(b, r.nodes);
  const auto stats = r.stats.node ? pack(b, r.stats) : 0;
  const auto ref = pack(r.ref);
  const wire::FileStamp stamp(r.stamp.device, r.stamp.inode, r.stamp.size, r.stamp.modified_ns,
                              r.stamp.changed_ns);
  return finish(b, wire::Body::Reply,
                wire::CreateReply(b, r.id, static_cast<std::uint16_t>(r.code), message, &ref, file,
                                  info, nodes, stats, r.stamp.inode ? &stamp : nullptr));
}

Result<std::variant<Hello, Request, Reply>> decode(std::span<const std::byte> message) {
  const auto* data = reinterpret_cast<const std::uint8_t*>(message.data());
  constexpr int kMaxDepth = 16;
  constexpr int kMaxTables = 20'000;
  flatbuffers::Verifier verifier(data, message.size(), kMaxDepth, kMaxTables);
  if (message.size() < 8 || !wire::VerifyMessageBuffer(verifier))
    return fail(Code::kProtocol, "the peer sent a damaged message");
  const auto* root = wire::GetMessage(data);
  try {
    if (const auto* hello = root->body_as_Hello()) return unpack(*hello);
    if (const auto* request = root->body_as_Request()) return unpack(*request);
    if (const auto* reply = root->body_as_Reply()) return unpack(*reply);
  } catch (const TooMuch&) {
    return fail(Code::kProtocol, "the peer sent a message with more in it than any has");
  }
  return fail(Code::kProtocol, "the peer sent a message of an unknown kind");
}

Reply error_reply(const Error& error) {
  Reply reply;
  reply.code = error.code;
  reply.message = error.message;
  return reply;
}

}  // namespace mempool::transport
