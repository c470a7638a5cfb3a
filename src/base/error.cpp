#include "base/error.h"

#include <fmt/format.h>
#include <string.h>

#include <cerrno>

namespace ftpd {
namespace {

Reason classify(int number) {
  switch (number) {
    case ENOENT: return Reason::not_found;
    case EEXIST: return Reason::exists;
    case EISDIR: return Reason::is_directory;
    case ENOTDIR: return Reason::not_directory;
    case ENOTEMPTY: return Reason::not_empty;
    case EACCES:
    case EPERM:
    case EROFS:
    case ETXTBSY:
    case ELOOP:  // openat2: a symbolic link on the way
    case EXDEV:  // openat2: the path leaves the root
      return Reason::denied;
    case EFBIG: return Reason::too_large;
    case EDQUOT: return Reason::quota;
    case ENOSPC: return Reason::no_space;
    case EINVAL:
    case ENAMETOOLONG: return Reason::invalid;
    case EAGAIN:
    case EMFILE:
    case ENFILE: return Reason::busy;
    case ETIMEDOUT: return Reason::timeout;
    case EOPNOTSUPP:
    case ENOSYS: return Reason::unsupported;
    default: return Reason::system;
  }
}

}  // namespace

Error Error::from_errno(int number, std::string_view context) {
  char buffer[128];
  return {classify(number), number,
          fmt::format("{}: {}", context, ::strerror_r(number, buffer, sizeof buffer))};
}

std::string_view errno_name(int number) {
  if (number == 0) return {};
  const char* const name = ::strerrorname_np(number);
  return name == nullptr ? std::string_view{} : std::string_view{name};
}

}  // namespace ftpd
