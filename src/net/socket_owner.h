// Which user owns the socket at the other end of a loopback TCP connection (sock_diag(7)).
#pragma once

#include <sys/types.h>

#include "base/error.h"
#include "base/unique_fd.h"
#include "net/address.h"

namespace ftpd {

/// Asks the kernel over one netlink socket; each loop has its own. The question names the exact
/// connection and is answered at once, so it never waits. Not thread-safe.
class SocketOwner {
 public:
  [[nodiscard]] static Result<SocketOwner> create();

  /// The uid that owns the socket bound to `peer` and connected to `self`.
  /// Reason::not_found: no such socket, or one that no process holds any more (inode 0, whose uid
  /// would read as root). Reason::unsupported: the kernel has no sock_diag. Both mean "unknown".
  [[nodiscard]] Result<uid_t> of(const Address& peer, const Address& self);

 private:
  explicit SocketOwner(UniqueFd netlink) : netlink_(std::move(netlink)) {}
  UniqueFd netlink_;
  std::uint32_t sequence_ = 0;
};

}  // namespace ftpd
