#include "base/unique_fd.h"

#include <unistd.h>

#include <cerrno>

namespace ftpd {

void UniqueFd::reset(int fd) noexcept {
  if (fd_ >= 0) {
    // close() may report a late write error; whoever needs that answer calls fsync first. EINTR is
    // not retried: on Linux the descriptor is gone either way (close(2)).
    const int saved = errno;
    ::close(fd_);
    errno = saved;
  }
  fd_ = fd;
}

}  // namespace ftpd
