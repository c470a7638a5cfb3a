// A command's output until the command has ended.
#include "server/spool.h"

#include <fcntl.h>
#include <sys/mman.h>

#include <cerrno>
#include <memory>

#include "base/sys.h"

namespace ftpd {

Result<void> Spool::append(std::string_view bytes) {
  if (!in_file() && memory_.size() + bytes.size() <= memory_limit) {
    memory_ += bytes;
    size_ += bytes.size();
    return {};
  }
  if (!in_file()) {
    if (auto moved = move_to_file(); !moved) return moved;
  }
  while (!bytes.empty()) {
    const ssize_t written = sys::pwrite(file_->get(), bytes.data(), bytes.size(), static_cast<off_t>(size_));
    if (written < 0) return fail_errno(errno, "spooling output");
    size_ += static_cast<std::size_t>(written);
    bytes.remove_prefix(static_cast<std::size_t>(written));
  }
  return {};
}

Result<std::size_t> Spool::splice_from(int pipe, std::size_t size) {
  off64_t offset = static_cast<off64_t>(size_);
  const ssize_t moved =
      sys::splice(pipe, nullptr, file_->get(), &offset, size, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
  if (moved < 0) return fail_errno(errno, "spooling output");
  size_ += static_cast<std::size_t>(moved);
  return static_cast<std::size_t>(moved);
}

Result<void> Spool::move_to_file() {
  const int fd = sys::memfd_create("ftpd-output", MFD_CLOEXEC);
  if (fd < 0) return fail_errno(errno, "memfd_create");
  file_ = SharedFd(new UniqueFd(fd), [&pool = pool_](const UniqueFd* file) {
    pool.push([owned = std::unique_ptr<const UniqueFd>(file)] {});
  });
  const std::string held = std::exchange(memory_, std::string{});
  size_ = 0;
  return append(held);
}

}  // namespace ftpd
