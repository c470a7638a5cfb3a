// root/.ftpd, the daemon's own directory: opened and made, and the locks of the directories in it.
#pragma once

#include <fcntl.h>

#include <cstdint>
#include <string>

#include "base/error.h"
#include "base/unique_fd.h"

namespace ftpd {

inline constexpr const char* home_name = ".ftpd";

/// How the directories in it are opened.
inline constexpr int home_directory_flags = O_RDONLY | O_DIRECTORY;

/// Reason::not_found where there is none.
[[nodiscard]] Result<UniqueFd> open_home(int root);
/// Makes it (0700) where there is none.
[[nodiscard]] Result<UniqueFd> open_or_make_home(int root);

/// Does `name` in `home` lead to the open `directory`? Asked after a lock is taken: whoever had it before
/// may have removed the directory.
[[nodiscard]] bool is_linked(int home, const std::string& name, int directory);

enum class Lock : std::uint8_t {
  taken,
  held,        // by another open of the directory, in this process or another
  impossible,  // errno says why; a file system that knows no locks, for one
};
/// flock(2), without a wait. The lock ends with the descriptor, so a process that dies lets go of it.
[[nodiscard]] Lock try_lock(int directory);

}  // namespace ftpd
