// Where to listen and who is at the other end.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/error.h"

namespace ftpd {

/// A socket address: IPv4, IPv6 or a Unix socket's path. A value, and a small one (40 bytes), since
/// every connection keeps its peer's.
class Address {
 public:
  Address() = default;

  /// HOST:PORT, [V6]:PORT, :PORT (127.0.0.1) or unix:PATH. HOST is a literal address or "localhost"
  /// (127.0.0.1): names are not looked up. V6 may end in %N, the number of an interface. PATH has 1 to
  /// 107 bytes and is a file's, not an abstract name (unix(7)), which any user could take. Errors are
  /// Reason::invalid and say what is allowed.
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
  [[nodiscard]] const std::string& path() const;

  /// The form that parse() takes: 127.0.0.1:8080, [::1]:8080, unix:/run/ftpd/ftpd.sock ("unix:" for a
  /// peer without a name, "" for no address).
  [[nodiscard]] std::string text() const;

  /// The host without the port: the key of limits for each address. An IPv4 peer has the same one
  /// where it came over an IPv6 socket; all Unix peers share "unix".
  [[nodiscard]] std::string host() const;

  /// The internet address as IPv6 (IPv4 mapped), 16 bytes in network order. Zeros for others.
  [[nodiscard]] const in6_addr& ip() const { return ip_; }

 private:
  [[nodiscard]] static Result<Address> parse_unix(std::string_view path);
  [[nodiscard]] static Result<Address> parse_v6(std::string_view host);
  [[nodiscard]] static Result<Address> parse_v4(std::string_view host);

  sa_family_t family_ = AF_UNSPEC;
  in_port_t port_ = 0;  // network order
  std::uint32_t scope_ = 0;
  in6_addr ip_{};
  std::shared_ptr<const std::string> path_;  // none unless Unix and named
};

}  // namespace ftpd
