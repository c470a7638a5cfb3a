// Names below a root descriptor: openat2(2), beneath it, no symbolic links, no magic links.
#pragma once

#include <sys/stat.h>

#include <string>
#include <string_view>

#include "base/error.h"
#include "base/unique_fd.h"
#include "store/rel_path.h"

namespace ftpd {

/// `number` as the Error of `path` (shown to people in quotes). A symbolic link, a way out of the root
/// and a special file are Reason::denied and said in words.
[[nodiscard]] std::unexpected<Error> fail_path(int number, std::string_view path);

/// Opens `path` below `directory`; `flags` are those of open(2), close-on-exec is added, `mode` only
/// with O_CREAT. With O_PATH | O_NOFOLLOW a link that is the last component is opened itself; any
/// other link is Reason::denied. O_DIRECTORY goes without O_NOFOLLOW, else a link would be said to be no
/// directory (ENOTDIR) in place of ELOOP.
[[nodiscard]] Result<UniqueFd> open_beneath(int directory, const std::string& path, int flags,
                                            mode_t mode = 0);

/// What `path` is; of a link that is the last component: the link itself.
[[nodiscard]] Result<struct stat> stat_beneath(int directory, const RelPath& path);

/// Nothing for a regular file, else Reason::is_directory or Reason::denied.
[[nodiscard]] Result<void> require_regular(mode_t mode, std::string_view path);

}  // namespace ftpd
