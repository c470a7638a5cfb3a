// Removing a directory with all below it, where a Store is not at hand: what a dead process left in its
// staging directory. Store's own rm, mv, mkdir and rmdir are in names.cpp.
#pragma once

#include <string>

#include "base/error.h"
#include "store/tree_remover.h"

namespace ftpd {

/// Removes the directory `name` (one component) in the directory `holder`, and all below it; see TreeRemover.
/// On an Error a part may be gone.
[[nodiscard]] Result<RemovedTree> remove_tree(int holder, const std::string& name);

}  // namespace ftpd
