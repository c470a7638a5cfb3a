// A directory on its way out as a tar stream.
#pragma once

#include <cstdint>

#include "base/error.h"
#include "store/rel_path.h"
#include "store/tar_writer.h"

namespace ftpd {

class Store;

struct TreeSent {
  std::uint64_t files = 0;
  std::uint64_t directories = 0;
  std::uint64_t bytes = 0;    // of the files
  std::uint64_t skipped = 0;  // links and special files, which are never followed nor sent
};

/// Writes what is below `path` as pax: directories before what is in them, sorted by name, modes and times
/// kept, owners left out; `.ftpd` of the root is left out. What vanishes before it is opened is left out
/// too; a file that shrinks while it is sent is an Error, and one that grows is sent as long as it was.
/// Reason::not_directory for a file, Reason::too_large for directories with too many names. Blocks.
[[nodiscard]] Result<TreeSent> send_tree(const Store& store, const RelPath& path, const TarSink& sink);

}  // namespace ftpd
