// The socket calls of one connection, each one attempt that never waits.
#include "net/stream.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

#include <cassert>
#include <cerrno>

#include "base/sys.h"

namespace ftpd {

Moved Moved::from(ssize_t result) {
  if (result > 0) return bytes(static_cast<std::size_t>(result));
  if (result == 0) return {How::ended, 0, 0};
  if (errno == EAGAIN || errno == EWOULDBLOCK) return {How::blocked, 0, 0};
  return {How::failed, errno, 0};
}

void Stream::configure() {
  const auto set = [this](int level, int name, int value) {
    return sys::setsockopt(fd_.get(), level, name, &value, sizeof value) == 0;
  };
  if (!set(IPPROTO_TCP, TCP_NODELAY, 1)) return;  // a Unix socket
  // Without them the connection works all the same; a vanished peer is only noticed later.
  [[maybe_unused]] const bool all = set(SOL_SOCKET, SO_KEEPALIVE, 1) && set(IPPROTO_TCP, TCP_KEEPIDLE, 30) &&
                                    set(IPPROTO_TCP, TCP_KEEPINTVL, 10) && set(IPPROTO_TCP, TCP_KEEPCNT, 5);
}

Moved Stream::read(std::span<char> into) {
  assert(!into.empty());
  return Moved::from(sys::recv(fd_.get(), into.data(), into.size(), MSG_DONTWAIT));
}

Moved Stream::write(std::span<const iovec> parts, Follow follow) {
  assert(!parts.empty());
  msghdr message{};
  message.msg_iov = const_cast<iovec*>(parts.data());  // sendmsg(2) only reads it
  message.msg_iovlen = parts.size();
  const int more = follow == Follow::more ? MSG_MORE : 0;
  return Moved::from(sys::sendmsg(fd_.get(), &message, MSG_NOSIGNAL | MSG_DONTWAIT | more));
}

Moved Stream::send_file(int file, std::uint64_t& offset, std::size_t size) {
  auto position = static_cast<off_t>(offset);
  const Moved moved = Moved::from(sys::sendfile(fd_.get(), file, &position, size));
  offset += moved.count;
  return moved;
}

Moved Stream::splice_to_pipe(int pipe, std::size_t size) {
  return Moved::from(sys::splice(fd_.get(), nullptr, pipe, nullptr, size, SPLICE_F_MOVE | SPLICE_F_NONBLOCK));
}

Moved Stream::splice_from_pipe(int pipe, std::size_t size) {
  return Moved::from(sys::splice(pipe, nullptr, fd_.get(), nullptr, size, SPLICE_F_MOVE | SPLICE_F_NONBLOCK));
}

void Stream::end_sending() {
  // ENOTCONN: the peer is gone already, and there is nothing to tell it.
  [[maybe_unused]] const int result = sys::shutdown(fd_.get(), SHUT_WR);
}

int Stream::take_error() {
  int error = 0;
  socklen_t size = sizeof error;
  if (sys::getsockopt(fd_.get(), SOL_SOCKET, SO_ERROR, &error, &size) != 0) return errno;
  return error;
}

}  // namespace ftpd
