// The one place where a peer's path meets the kernel.
#include "store/resolve.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <cerrno>
#include <climits>

#include "base/sys.h"

namespace ftpd {
namespace {

constexpr int attempts = 16;

}  // namespace

std::unexpected<Error> fail_path(int number, std::string_view path) {
  std::string_view what;
  switch (number) {
    case ELOOP: what = "is or passes through a symbolic link; links are never followed"; break;
    case EXDEV: what = "leads out of the root"; break;
    case ENXIO: what = "is neither a file nor a directory"; break;
    default: return fail_errno(number, fmt::format("\"{}\"", path));
  }
  return std::unexpected(Error{Reason::denied, number, fmt::format("\"{}\" {}", path, what)});
}

Result<UniqueFd> open_beneath(int directory, const std::string& path, int flags, mode_t mode) {
  // The kernel takes PATH_MAX bytes with the final NUL at once, a path of ours may have one byte more.
  if (path.size() >= PATH_MAX) {
    const std::size_t slash = path.rfind('/');
    const auto parent = open_beneath(directory, path.substr(0, slash), O_PATH | O_DIRECTORY);
    if (!parent) return std::unexpected(parent.error());
    return open_beneath(parent->get(), path.substr(slash + 1), flags, mode);
  }
  open_how how{};
  how.flags = static_cast<std::uint64_t>(flags | O_CLOEXEC);
  how.mode = mode;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
  // EAGAIN: something on the way was renamed while the kernel looked (openat2(2)).
  for (int attempt = 1;; ++attempt) {
    UniqueFd file{sys::openat2(directory, path.c_str(), how)};
    if (file) return file;
    if (errno != EAGAIN || attempt == attempts) return fail_path(errno, path);
  }
}

Result<struct stat> stat_beneath(int directory, const RelPath& path) {
  struct stat status{};
  if (path.text().find('/') == std::string::npos) {
    // A single checked component can't leave the directory, so the descriptor is spared.
    const int flags = AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT;
    if (sys::fstatat(directory, path.c_str(), status, flags) != 0) return fail_path(errno, path.text());
    return status;
  }
  const auto file = open_beneath(directory, path.text(), O_PATH | O_NOFOLLOW);
  if (!file) return std::unexpected(file.error());
  if (sys::fstat(file->get(), status) != 0) return fail_path(errno, path.text());
  return status;
}

Result<void> require_regular(mode_t mode, std::string_view path) {
  if (S_ISREG(mode)) return {};
  if (S_ISDIR(mode)) return fail_path(EISDIR, path);
  return fail_path(S_ISLNK(mode) ? ELOOP : ENXIO, path);
}

}  // namespace ftpd
