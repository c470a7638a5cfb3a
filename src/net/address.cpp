// Addresses between their text, the kernel's structures and the one form kept in memory.
#include "net/address.h"

#include <arpa/inet.h>
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstring>

namespace ftpd {
namespace {

constexpr std::size_t path_max = sizeof(sockaddr_un{}.sun_path) - 1;  // 107: room for the final NUL
static_assert(path_max == 107);

constexpr std::string_view forms = "allowed are HOST:PORT, [IPV6]:PORT, :PORT and unix:PATH";

in6_addr mapped(in_addr v4) {
  in6_addr ip{};
  ip.s6_addr[10] = ip.s6_addr[11] = 0xff;
  std::memcpy(&ip.s6_addr[12], &v4, sizeof v4);
  return ip;
}

bool is_mapped(const in6_addr& ip) { return IN6_IS_ADDR_V4MAPPED(&ip); }

in_addr unmapped(const in6_addr& ip) {
  in_addr v4{};
  std::memcpy(&v4, &ip.s6_addr[12], sizeof v4);
  return v4;
}

std::string v4_text(in_addr v4) {
  char buffer[INET_ADDRSTRLEN];
  return ::inet_ntop(AF_INET, &v4, buffer, sizeof buffer);
}

std::string v6_text(const in6_addr& ip, std::uint32_t scope) {
  char buffer[INET6_ADDRSTRLEN];
  std::string text = ::inet_ntop(AF_INET6, &ip, buffer, sizeof buffer);
  if (scope != 0) text += fmt::format("%{}", scope);
  return text;
}

/// Decimal digits and nothing else.
template <class Number>
bool parse_number(std::string_view text, Number& out) {
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, out);
  return error == std::errc{} && stop == end;
}

}  // namespace

Result<Address> Address::parse_unix(std::string_view path) {
  if (path.empty()) return fail(Reason::invalid, "unix: lacks the path of the socket");
  if (path.front() == '@' || path.front() == '\0') {
    return fail(Reason::invalid, "an abstract Unix socket is not allowed: give the path of a file");
  }
  if (path.size() > path_max) {
    return fail(Reason::invalid, fmt::format("the path of a Unix socket has at most {} bytes, this one {}",
                                             path_max, path.size()));
  }
  if (path.contains('\0')) return fail(Reason::invalid, "the path of a Unix socket can't hold a NUL");
  Address address;
  address.family_ = AF_UNIX;
  address.path_ = std::make_shared<const std::string>(path);
  return address;
}

Result<Address> Address::parse_v6(std::string_view host) {
  Address address;
  address.family_ = AF_INET6;
  std::string_view literal = host;
  if (const auto percent = host.find('%'); percent != std::string_view::npos) {
    literal = host.substr(0, percent);
    const std::string_view scope = host.substr(percent + 1);
    if (!parse_number(scope, address.scope_) || address.scope_ == 0) {
      return fail(Reason::invalid, fmt::format("'{}': after '%' comes the number of an interface", host));
    }
  }
  if (::inet_pton(AF_INET6, std::string(literal).c_str(), &address.ip_) != 1 || literal.contains('\0')) {
    return fail(Reason::invalid, fmt::format("'{}' is not an IPv6 address", literal));
  }
  return address;
}

Result<Address> Address::parse_v4(std::string_view host) {
  Address address;
  address.family_ = AF_INET;
  if (host.empty() || host == "localhost") {
    address.ip_ = mapped({htonl(INADDR_LOOPBACK)});
    return address;
  }
  in_addr v4{};
  if (::inet_pton(AF_INET, std::string(host).c_str(), &v4) != 1 || host.contains('\0')) {
    if (host.contains(':')) {
      return fail(Reason::invalid, fmt::format("'{}': an IPv6 address stands in brackets", host));
    }
    return fail(Reason::invalid,
                fmt::format("'{}' is neither an IPv4 address nor localhost: names are not looked up", host));
  }
  address.ip_ = mapped(v4);
  return address;
}

Result<Address> Address::parse(std::string_view text) {
  if (text.starts_with("unix:")) return parse_unix(text.substr(5));
  const auto colon = text.rfind(':');
  if (colon == std::string_view::npos || text.ends_with(']')) {
    return fail(Reason::invalid, fmt::format("'{}' has no port: {}", text, forms));
  }
  const std::string_view host = text.substr(0, colon);
  const std::string_view port_text = text.substr(colon + 1);
  std::uint16_t port = 0;
  if (!parse_number(port_text, port)) {
    return fail(Reason::invalid, fmt::format("'{}' is not a port: 0 to 65535", port_text));
  }
  if (host.starts_with('[') != host.ends_with(']')) {
    return fail(Reason::invalid, fmt::format("'{}': a bracket is missing: {}", text, forms));
  }
  auto address = host.starts_with('[') ? parse_v6(host.substr(1, host.size() - 2)) : parse_v4(host);
  if (address) address->port_ = htons(port);
  return address;
}

Address Address::from_sockaddr(const sockaddr_storage& storage, socklen_t size) {
  Address address;
  if (size < sizeof storage.ss_family) return address;
  if (storage.ss_family == AF_INET && size >= sizeof(sockaddr_in)) {
    sockaddr_in in{};
    std::memcpy(&in, &storage, sizeof in);
    address.family_ = AF_INET;
    address.port_ = in.sin_port;
    address.ip_ = mapped(in.sin_addr);
  } else if (storage.ss_family == AF_INET6 && size >= sizeof(sockaddr_in6)) {
    sockaddr_in6 in{};
    std::memcpy(&in, &storage, sizeof in);
    address.family_ = AF_INET6;
    address.port_ = in.sin6_port;
    address.scope_ = in.sin6_scope_id;
    address.ip_ = in.sin6_addr;
  } else if (storage.ss_family == AF_UNIX) {
    sockaddr_un un{};
    std::memcpy(&un, &storage, std::min<std::size_t>(size, sizeof un));
    address.family_ = AF_UNIX;
    // An abstract name begins with NUL and reads as no name; a path may fill the field to its end.
    const std::size_t length = ::strnlen(un.sun_path, sizeof un.sun_path);
    if (length > 0) address.path_ = std::make_shared<const std::string>(un.sun_path, length);
  }
  return address;
}

socklen_t Address::to_sockaddr(sockaddr_storage& out) const {
  out = {};
  out.ss_family = family_;
  if (family_ == AF_INET) {
    sockaddr_in in{};
    in.sin_family = family_;
    in.sin_port = port_;
    in.sin_addr = unmapped(ip_);
    std::memcpy(&out, &in, sizeof in);
    return sizeof in;
  }
  if (family_ == AF_INET6) {
    sockaddr_in6 in{};
    in.sin6_family = family_;
    in.sin6_port = port_;
    in.sin6_addr = ip_;
    in.sin6_scope_id = scope_;
    std::memcpy(&out, &in, sizeof in);
    return sizeof in;
  }
  if (family_ == AF_UNIX) {
    sockaddr_un un{};
    un.sun_family = family_;
    const std::string& name = path();
    name.copy(un.sun_path, sizeof un.sun_path);
    std::memcpy(&out, &un, sizeof un);
    const std::size_t length = std::min(name.size() + 1, sizeof un.sun_path);
    return static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + (name.empty() ? 0 : length));
  }
  return sizeof out.ss_family;
}

bool Address::is_loopback() const {
  if (family_ != AF_INET && family_ != AF_INET6) return false;
  if (is_mapped(ip_)) return ip_.s6_addr[12] == 127;
  return IN6_IS_ADDR_LOOPBACK(&ip_);
}

std::uint16_t Address::port() const { return ntohs(port_); }

const std::string& Address::path() const {
  static const std::string none;
  return path_ == nullptr ? none : *path_;
}

std::string Address::text() const {
  switch (family_) {
    case AF_INET: return fmt::format("{}:{}", v4_text(unmapped(ip_)), port());
    case AF_INET6: return fmt::format("[{}]:{}", v6_text(ip_, scope_), port());
    case AF_UNIX: return "unix:" + path();
    default: return {};
  }
}

std::string Address::host() const {
  switch (family_) {
    case AF_INET: return v4_text(unmapped(ip_));
    case AF_INET6: return is_mapped(ip_) ? v4_text(unmapped(ip_)) : v6_text(ip_, scope_);
    case AF_UNIX: return "unix";
    default: return {};
  }
}

}  // namespace ftpd
