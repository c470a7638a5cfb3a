// Things that a loop lends to its connections.
#include "server/lender.h"

#include <fcntl.h>

#include <cassert>
#include <cerrno>

#include "base/sys.h"

namespace ftpd {

std::unique_ptr<Buffer> BufferLender::borrow() {
  if (spare_.empty()) return std::make_unique<Buffer>(capacity_);
  auto buffer = std::move(spare_.back());
  spare_.pop_back();
  return buffer;
}

void BufferLender::give_back(std::unique_ptr<Buffer> buffer) {
  if (spare_.size() >= kept) return;
  buffer->clear();
  spare_.push_back(std::move(buffer));
}

Result<std::unique_ptr<SplicePipe>> PipeLender::borrow() {
  if (!spare_.empty()) {
    auto pipe = std::move(spare_.back());
    spare_.pop_back();
    return pipe;
  }
  int ends[2];
  if (sys::pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0) return fail_errno(errno, "pipe");
  auto pipe = std::make_unique<SplicePipe>();
  pipe->read_end.reset(ends[0]);
  pipe->write_end.reset(ends[1]);
  // Fewer, larger moves. Refused for a user over pipe-user-pages-soft (pipe(7)): then it stays small.
  constexpr long wanted = 1L << 20U;
  int size = sys::fcntl(ends[1], F_SETPIPE_SZ, wanted);
  if (size < 0) size = sys::fcntl(ends[1], F_GETPIPE_SZ);
  pipe->capacity = size > 0 ? static_cast<std::size_t>(size) : 4096;
  return pipe;
}

void PipeLender::give_back(std::unique_ptr<SplicePipe> pipe) {
  assert(pipe->held == 0);
  if (spare_.size() < kept) spare_.push_back(std::move(pipe));
}

}  // namespace ftpd
