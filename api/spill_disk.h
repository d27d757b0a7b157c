// The disk of a store, made of the spill layer: the two know nothing of each other.
#pragma once

#include <memory>

#include "spill/spill.h"
#include "store/disk.h"

namespace mempool {

std::unique_ptr<store::Disk> make_spill_disk(std::unique_ptr<spill::Directory> directory);

/// A file that is not the node's own: reads and maps, and is never removed.
std::shared_ptr<store::DiskFile> adopt_file(spill::File file);

/// The blob file behind a file of such a disk.
const spill::File& spill_file(const store::DiskFile& file);

}  // namespace mempool
