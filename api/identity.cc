#include "api/identity.h"

#include <cstdio>

#include <sys/random.h>
#include <xxhash.h>

namespace mempool {

std::uint64_t id_of_name(std::string_view name) {
  const auto id = XXH3_64bits(name.data(), name.size());
  return id ? id : 1;
}

Result<std::uint64_t> random_id() {
  for (;;) {
    std::uint64_t id = 0;
    if (getrandom(&id, sizeof id, 0) != sizeof id)
      return fail(Code::kIo, "the system gives no random numbers");
    if (id) return id;
  }
}

std::string id_text(std::uint64_t id) {
  char text[17];
  std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(id));
  return text;
}

Status check_identity(const BlobId& ref, const BlobId& life) {
  if (ref.cluster != life.cluster)
    return fail(Code::kWrongCluster, "the reference belongs to cluster " + id_text(ref.cluster) +
                                         ", this is cluster " + id_text(life.cluster));
  if (ref.node != life.node)
    return fail(Code::kNotFound, "the reference belongs to node " + id_text(ref.node) +
                                     ", this is node " + id_text(life.node));
  if (ref.incarnation != life.incarnation)
    return fail(Code::kStaleReference, "the reference was made by an earlier life of node " +
                                           id_text(ref.node) +
                                           "; its blobs ended with it: store the data again");
  return {};
}

}  // namespace mempool
