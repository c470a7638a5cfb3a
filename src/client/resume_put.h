// The name under which an upload is found again.
#pragma once

#include <sys/stat.h>

#include <string>
#include <string_view>

namespace ftpd::client {

/// "ftpc-" and 32 hex digits, the same for the same file on its way to the same name: as long as its size,
/// time and inode have not changed. `absolute` is the file's path.
[[nodiscard]] std::string upload_name(std::string_view remote, std::string_view absolute,
                                      const struct stat& about);

}  // namespace ftpd::client
