// A command's output until the command has ended: in memory first, past 1 MiB in a memfd.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/error.h"
#include "net/out_queue.h"
#include "reactor/offload.h"

namespace ftpd {

/// A memfd(2) is not part of the daemon's heap, can be swapped out, and goes out by sendfile. Bounded
/// by whoever fills it (`max_output`).
class Spool {
 public:
  /// `pool` frees the memfd: a large one takes its time.
  explicit Spool(Offload& pool) : pool_(pool) {}

  static constexpr std::size_t memory_limit = 1U << 20U;

  [[nodiscard]] Result<void> append(std::string_view bytes);

  /// Moves up to `size` bytes from `pipe` without copying them; once in_file() only. 0 when the pipe
  /// is empty (EAGAIN) is told by errno EAGAIN as an Error of Reason::busy; 0 as a value is the end.
  [[nodiscard]] Result<std::size_t> splice_from(int pipe, std::size_t size);

  [[nodiscard]] std::uint64_t size() const { return size_; }
  [[nodiscard]] bool in_file() const { return file_ != nullptr; }
  [[nodiscard]] std::string&& take_memory() { return std::move(memory_); }
  [[nodiscard]] OutQueue::FileRange file() const { return {file_, 0, size_, true}; }

 private:
  [[nodiscard]] Result<void> move_to_file();
  Offload& pool_;
  std::string memory_;
  SharedFd file_;
  std::uint64_t size_ = 0;
};

}  // namespace ftpd
