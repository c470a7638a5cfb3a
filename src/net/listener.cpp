// Opens listening sockets and takes connections from them.
#include "net/listener.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <cerrno>

#include "base/sys.h"

namespace ftpd {
namespace {

// Connections that died in the queue are skipped at most this often a call.
constexpr int skip_max = 64;

constexpr int socket_flags = SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC;

std::unexpected<Error> fail_on(const Address& address, int number) {
  return fail_errno(number, address.text());
}

/// A left-over path is unlinked: one that refuses connections. Anything else stays and is an error.
Result<void> remove_stale(const Address& address) {
  const char* const path = address.path().c_str();
  struct stat found{};
  if (sys::fstatat(AT_FDCWD, path, found, AT_SYMLINK_NOFOLLOW) != 0) {
    if (errno == ENOENT) return {};
    return fail_on(address, errno);
  }
  if (!S_ISSOCK(found.st_mode)) {
    return fail(Reason::exists, fmt::format("{}: there is a file that is not a socket", address.text()));
  }
  const UniqueFd probe(sys::socket(AF_UNIX, socket_flags, 0));
  if (!probe) return fail_on(address, errno);
  sockaddr_storage storage;
  const socklen_t size = address.to_sockaddr(storage);
  const bool connected = sys::connect(probe.get(), reinterpret_cast<const sockaddr*>(&storage), size) == 0;
  if (connected || errno != ECONNREFUSED) {
    return fail(Reason::exists, fmt::format("{}: another process listens there", address.text()));
  }
  if (sys::unlinkat(AT_FDCWD, path, 0) != 0 && errno != ENOENT) return fail_on(address, errno);
  return {};
}

Result<void> bind_to(int fd, const Address& address) {
  sockaddr_storage storage;
  const socklen_t size = address.to_sockaddr(storage);
  const auto bind = [&] { return sys::bind(fd, reinterpret_cast<const sockaddr*>(&storage), size); };
  if (bind() == 0) return {};
  if (!address.is_unix() || errno != EADDRINUSE) return fail_on(address, errno);
  if (auto removed = remove_stale(address); !removed) return removed;
  if (bind() == 0) return {};
  return fail_on(address, errno);
}

Result<void> set_options(int fd, const Address& address) {
  if (address.is_unix()) return {};
  const int on = 1;
  if (sys::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0) return fail_on(address, errno);
  if (address.family() == AF_INET6 && sys::setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on) != 0) {
    return fail_on(address, errno);
  }
  return {};
}

Result<Address> bound_address(int fd, const Address& asked) {
  if (asked.is_unix()) return asked;
  sockaddr_storage storage{};
  socklen_t size = sizeof storage;
  if (sys::getsockname(fd, reinterpret_cast<sockaddr*>(&storage), &size) != 0) return fail_on(asked, errno);
  return Address::from_sockaddr(storage, size);
}

/// An error that belongs to the one connection taken from the queue, not to the listener (accept(2)).
bool died_in_queue(int number) {
  switch (number) {
    case ECONNABORTED:
    case EPROTO:
    case ENETDOWN:
    case ENOPROTOOPT:
    case EHOSTDOWN:
    case ENONET:
    case EHOSTUNREACH:
    case ENETUNREACH:
    case EPERM:  // a firewall's rule
      return true;
    default: return false;
  }
}

}  // namespace

Result<Listener> Listener::open(const Address& address, int backlog) {
  UniqueFd fd(sys::socket(address.family(), socket_flags, 0));
  if (!fd) return fail_on(address, errno);
  if (auto set = set_options(fd.get(), address); !set) return std::unexpected(set.error());
  if (auto bound = bind_to(fd.get(), address); !bound) return std::unexpected(bound.error());
  Listener listener(std::move(fd), address);  // from here on the path is ours to remove
  if (address.is_unix()) {
    struct stat made{};
    if (sys::fstatat(AT_FDCWD, address.path().c_str(), made, AT_SYMLINK_NOFOLLOW) != 0) {
      return fail_on(address, errno);
    }
    listener.device_ = made.st_dev;
    listener.inode_ = made.st_ino;
  }
  if (sys::listen(listener.fd(), backlog) != 0) return fail_on(address, errno);
  auto real = bound_address(listener.fd(), address);
  if (!real) return std::unexpected(real.error());
  listener.address_ = std::move(*real);
  return listener;
}

Listener& Listener::operator=(Listener&& other) noexcept {
  if (this != &other) {
    close();
    fd_ = std::move(other.fd_);
    address_ = std::move(other.address_);
    device_ = other.device_;
    inode_ = other.inode_;
  }
  return *this;
}

void Listener::close() noexcept {
  if (!fd_) return;
  if (address_.is_unix()) {
    struct stat found{};
    const char* const path = address_.path().c_str();
    if (sys::fstatat(AT_FDCWD, path, found, AT_SYMLINK_NOFOLLOW) == 0 && found.st_dev == device_ &&
        found.st_ino == inode_) {
      // Whoever comes next replaces it if this fails.
      [[maybe_unused]] const int removed = sys::unlinkat(AT_FDCWD, path, 0);
    }
  }
  fd_.reset();
}

Result<Listener::Accepted> Listener::accept() const {
  for (int i = 0; i < skip_max; ++i) {
    sockaddr_storage storage{};
    socklen_t size = sizeof storage;
    UniqueFd fd(
        sys::accept4(fd_.get(), reinterpret_cast<sockaddr*>(&storage), &size, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (fd) return Accepted{std::move(fd), Address::from_sockaddr(storage, size)};
    const int number = errno;
    if (died_in_queue(number)) continue;
    Error error = Error::from_errno(number, "accept4");
    if (number == ENOBUFS || number == ENOMEM) error.reason = Reason::busy;
    return std::unexpected(std::move(error));
  }
  return fail_errno(EAGAIN, "accept4");  // the others are still in the queue: the next event takes them
}

}  // namespace ftpd
