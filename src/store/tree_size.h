// How many bytes of files are below a root.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <unordered_map>

#include "base/error.h"

namespace ftpd {

/// Regular files count with their length, those with several names once. Of `.ftpd` only what is held
/// counts. `sizes`: files, by inode, that count with another length than they have. What vanishes
/// meanwhile does not count, nor what is in a directory that we are not allowed to read. Holds few
/// descriptors, however deep the tree.
[[nodiscard]] Result<std::uint64_t> tree_size(int root,
                                              const std::unordered_map<ino_t, std::uint64_t>& sizes);

}  // namespace ftpd
