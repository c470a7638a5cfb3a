// A connected socket as a stream of bytes.
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/error.h"
#include "base/unique_fd.h"

namespace ftpd {

/// What one attempt to move bytes came to. Exactly one of: bytes moved (count > 0), `blocked` (try
/// again when the descriptor is ready), `ended` (the peer shut down its sending side), or `error`.
struct Moved {
  enum class How : std::uint8_t { some, blocked, ended, failed };
  How how = How::blocked;
  int error = 0;  // errno, with `failed`
  std::size_t count = 0;

  [[nodiscard]] static Moved bytes(std::size_t n) { return {How::some, 0, n}; }
  [[nodiscard]] static Moved from(ssize_t result);  // of a system call; 0 reads as `ended`
};

/// Owns a connected, non-blocking stream socket (TCP or Unix). Never blocks.
class Stream {
 public:
  explicit Stream(UniqueFd fd) : fd_(std::move(fd)) {}

  /// TCP_NODELAY, and keepalive such that a vanished peer is noticed within 90 s (30 s idle, then 5
  /// probes, 10 s apart). Does nothing on a Unix socket.
  void configure();

  [[nodiscard]] int fd() const { return fd_.get(); }

  [[nodiscard]] Moved read(std::span<char> into);
  /// Whether more bytes follow at once, so that a packet which they could fill waits for them
  /// (send(2), MSG_MORE).
  enum class Follow : std::uint8_t { nothing, more };
  [[nodiscard]] Moved write(std::span<const iovec> parts, Follow follow = Follow::nothing);
  /// From a file or memfd at `offset`, which advances. `ended` where the file is shorter than asked.
  [[nodiscard]] Moved send_file(int file, std::uint64_t& offset, std::size_t size);
  /// Socket to pipe. `blocked` for an empty socket or a full pipe.
  [[nodiscard]] Moved splice_to_pipe(int pipe, std::size_t size);
  /// Pipe to socket. `blocked` for a full socket or an empty pipe; `ended` at the pipe's end.
  [[nodiscard]] Moved splice_from_pipe(int pipe, std::size_t size);

  /// No more bytes to the peer (shutdown(2), SHUT_WR).
  void end_sending();

  /// The socket's pending error (SO_ERROR), 0 for none.
  [[nodiscard]] int take_error();

 private:
  UniqueFd fd_;
};

}  // namespace ftpd
