// Where to listen and who is at the other end.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <string>
#include <string_view>

#include "base/error.h"

namespace ftpd {

/// A socket address: IPv4, IPv6 or a Unix socket's path. A value. 28 bytes for the internet families
/// plus an empty string, since every connection keeps its peer's.
class Address {
 public:
  Address() = default;

  /// HOST:PORT, [V6]:PORT, :PORT (127.0.0.1) or unix:PATH. HOST is a literal address or "localhost":
  /// names are not looked up. Errors are Reason::invalid and say what is allowed.
  [[nodiscard]] static Result<Address> parse(std::string_view text);

  /// As accept(2), getsockname(2) gave it.
  [[nodiscard]] static Address from_sockaddr(const sockaddr_storage& storage, socklen_t size);

  /// What bind(2) and connect(2) take. Returns the size.
  socklen_t to_sockaddr(sockaddr_storage& out) const;

  [[nodiscard]] int family() const { return family_; }  // AF_INET, AF_INET6, AF_UNIX; AF_UNSPEC when empty
  [[nodiscard]] bool is_unix() const { return family_ == AF_UNIX; }

  /// 127.0.0.0/8, ::1, and ::ffff:127.0.0.0/104. A Unix socket is not loopback: it has credentials.
  [[nodiscard]] bool is_loopback() const;
  [[nodiscard]] std::uint16_t port() const;

  /// The path of a Unix address.
  [[nodiscard]] const std::string& path() const { return path_; }

  /// The form that parse() takes: 127.0.0.1:8080, [::1]:8080, unix:/run/ftpd/ftpd.sock ("unix:" for a
  /// peer without a name).
  [[nodiscard]] std::string text() const;

  /// The host without the port: the key of limits for each address.
  [[nodiscard]] std::string host() const;

  /// The internet address as IPv6 (IPv4 mapped), 16 bytes in network order. Zeros for others.
  [[nodiscard]] const in6_addr& ip() const { return ip_; }

 private:
  sa_family_t family_ = AF_UNSPEC;
  in_port_t port_ = 0;  // network order
  std::uint32_t scope_ = 0;
  in6_addr ip_{};
  std::string path_;
};

}  // namespace ftpd
