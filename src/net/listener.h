// A listening socket, shared by all loops.
#pragma once

#include <sys/types.h>

#include "base/error.h"
#include "base/unique_fd.h"
#include "net/address.h"

namespace ftpd {

/// Owns the listening descriptor (non-blocking, close-on-exec). Every worker watches the same
/// descriptor with EPOLLEXCLUSIVE. For a Unix socket the path is removed on destruction; a stale one
/// (nobody answers) is replaced, a live one or something that is no socket is an error
/// (Reason::exists).
class Listener {
 public:
  [[nodiscard]] static Result<Listener> open(const Address& address, int backlog = 4096);
  Listener(Listener&&) noexcept = default;
  Listener& operator=(Listener&& other) noexcept;
  ~Listener() { close(); }

  /// With the real port where 0 was asked for.
  [[nodiscard]] const Address& address() const { return address_; }
  [[nodiscard]] int fd() const { return fd_.get(); }

  struct Accepted {
    UniqueFd fd;  // non-blocking, close-on-exec
    Address peer;
  };
  /// Reason::busy with EAGAIN when nobody waits, with EMFILE/ENFILE (or ENOBUFS/ENOMEM, mapped to the
  /// same reason) at a limit of descriptors; a connection that died in the queue is skipped.
  [[nodiscard]] Result<Accepted> accept() const;

 private:
  Listener(UniqueFd fd, Address address) : fd_(std::move(fd)), address_(std::move(address)) {}
  void close() noexcept;

  UniqueFd fd_;
  Address address_;
  // The Unix socket that bind(2) made: what stands at the path later may be another daemon's.
  dev_t device_ = 0;
  ino_t inode_ = 0;
};

}  // namespace ftpd
