// Making the connection.
#include <fmt/format.h>
#include <netdb.h>
#include <netinet/tcp.h>

#include <cerrno>
#include <vector>

#include "base/clock.h"
#include "base/sys.h"
#include "client/connection.h"
#include "net/address.h"

namespace ftpd::client {
namespace {

constexpr std::chrono::seconds connect_limit{10};

/// NAME:PORT by way of the system's resolver (getaddrinfo(3)).
Outcome<std::vector<Address>> look_up(const std::string& text, const Error& why_not_literal) {
  const std::size_t colon = text.rfind(':');
  const std::string host = text.substr(0, colon);
  const bool is_name = colon != std::string::npos && !host.empty() &&
                       host.find_first_of(":[]/") == std::string::npos &&
                       host.find_first_not_of("0123456789.") != std::string::npos;
  const std::string port = is_name ? text.substr(colon + 1) : std::string{};
  if (port.empty() || port.find_first_not_of("0123456789") != std::string::npos) {
    return usage_failure(why_not_literal.text);
  }
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICSERV | AI_ADDRCONFIG;
  addrinfo* found = nullptr;
  if (const int error = ::getaddrinfo(host.c_str(), port.c_str(), &hints, &found); error != 0) {
    return connection_failure(fmt::format("{}: {}", text, ::gai_strerror(error)));
  }
  std::vector<Address> addresses;
  for (const addrinfo* at = found; at != nullptr; at = at->ai_next) {
    sockaddr_storage storage{};
    __builtin_memcpy(&storage, at->ai_addr, at->ai_addrlen);
    addresses.push_back(Address::from_sockaddr(storage, at->ai_addrlen));
  }
  ::freeaddrinfo(found);
  return addresses;
}

/// A peer that has vanished is noticed within 90 s. Where the kernel refuses, so be it.
void configure(int socket) {
  const auto set = [socket](int level, int name, int value) {
    sys::setsockopt(socket, level, name, &value, sizeof value);
  };
  set(IPPROTO_TCP, TCP_NODELAY, 1);
  set(SOL_SOCKET, SO_KEEPALIVE, 1);
  set(IPPROTO_TCP, TCP_KEEPIDLE, 30);
  set(IPPROTO_TCP, TCP_KEEPINTVL, 10);
  set(IPPROTO_TCP, TCP_KEEPCNT, 5);
}

/// 0, or the errno of a connection that did not come about.
int wait_until_connected(int socket) {
  const TimePoint deadline = Clock::now() + connect_limit;
  pollfd watched{socket, POLLOUT, 0};
  int ready = 0;
  while (ready == 0 && Clock::now() < deadline) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now()).count();
    ready = sys::poll(&watched, 1, static_cast<int>(left > 0 ? left : 0));
  }
  if (ready < 0) return errno;
  if (ready == 0) return ETIMEDOUT;
  int error = 0;
  socklen_t size = sizeof error;
  return sys::getsockopt(socket, SOL_SOCKET, SO_ERROR, &error, &size) == 0 ? error : errno;
}

/// The socket, or the errno.
std::expected<UniqueFd, int> connect_to(const Address& address) {
  UniqueFd socket{sys::socket(address.family(), SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
  if (!socket) return std::unexpected(errno);
  sockaddr_storage storage{};
  const socklen_t size = address.to_sockaddr(storage);
  // sockaddr_storage is made to be read as any sockaddr.
  if (sys::connect(socket.get(), reinterpret_cast<const sockaddr*>(&storage), size) != 0) {
    const int error = errno == EINPROGRESS ? wait_until_connected(socket.get()) : errno;
    if (error != 0) return std::unexpected(error);
  }
  if (!address.is_unix()) configure(socket.get());
  return socket;
}

bool nobody_listens(int error) { return error == ECONNREFUSED || error == ENOENT; }

}  // namespace

Outcome<UniqueFd> dial(const std::string& text) {
  std::vector<Address> addresses;
  if (auto address = Address::parse(text)) {
    addresses.push_back(std::move(*address));
  } else {
    auto found = look_up(text, address.error());
    if (!found) return std::unexpected(found.error());
    addresses = std::move(*found);
  }
  int error = ENOENT;
  for (const Address& address : addresses) {
    auto socket = connect_to(address);
    if (socket) return std::move(*socket);
    error = socket.error();
  }
  return connection_failure(Error::from_errno(error, text).text +
                            (nobody_listens(error) ? " (is ftpd running there?)" : ""));
}

}  // namespace ftpd::client
