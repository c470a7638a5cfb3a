// Loopback sockets and frames of the benchmarks.
#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <cstring>

#include "bench.h"

namespace bench {

namespace {

constexpr std::size_t longest_header = 8191;

sockaddr_in loopback(std::uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

void require_ok(std::string_view header) {
  if (value_of(header, "ok") != "true") throw Broken(fmt::format("error reply: {}", header));
}

/// A length as the wire has it: int32, little-endian; throws outside the protocol's bounds.
std::size_t header_length(std::span<const char, 4> bytes) {
  static_assert(std::endian::native == std::endian::little);
  std::int32_t length = 0;
  std::memcpy(&length, bytes.data(), sizeof length);
  if (length < 1 || static_cast<std::size_t>(length) > longest_header) {
    throw Broken(fmt::format("a reply's length is {}", length));
  }
  return static_cast<std::size_t>(length);
}

}  // namespace

UniqueFd listen_loopback() {
  auto listener = check_fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket");
  const auto address = loopback(0);
  check(::bind(listener.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), "bind");
  check(::listen(listener.get(), 1024), "listen");
  return listener;
}

std::uint16_t port_of(int listener) {
  sockaddr_in address{};
  socklen_t size = sizeof address;
  check(::getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size), "getsockname");
  return ntohs(address.sin_port);
}

UniqueFd connect_loopback(std::uint16_t port) {
  auto socket = check_fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket");
  const timeval limit{.tv_sec = 20, .tv_usec = 0};
  const int on = 1;
  check(::setsockopt(socket.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit), "SO_RCVTIMEO");
  check(::setsockopt(socket.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit), "SO_SNDTIMEO");
  check(::setsockopt(socket.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on), "TCP_NODELAY");
  const auto address = loopback(port);
  check(::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), "connect");
  return socket;
}

void set_nonblocking(int fd) {
  check(::fcntl(fd, F_SETFL, check(::fcntl(fd, F_GETFL), "F_GETFL") | O_NONBLOCK), "F_SETFL");
}

void send_all(int socket, std::span<const char> bytes) {
  while (!bytes.empty()) {
    const auto sent = check(::send(socket, bytes.data(), bytes.size(), MSG_NOSIGNAL), "send");
    bytes = bytes.subspan(static_cast<std::size_t>(sent));
  }
}

void receive_all(int socket, std::span<char> bytes) {
  while (!bytes.empty()) {
    const auto received = check(::recv(socket, bytes.data(), bytes.size(), 0), "recv");
    if (received == 0) throw Broken(fmt::format("connection closed with {} bytes missing", bytes.size()));
    bytes = bytes.subspan(static_cast<std::size_t>(received));
  }
}

std::string frame(std::string_view header) {
  const auto length = static_cast<std::int32_t>(header.size());
  std::string bytes(sizeof length, '\0');
  std::memcpy(bytes.data(), &length, sizeof length);
  return bytes.append(header);
}

Reply read_reply(int socket) {
  std::array<char, 4> length{};
  receive_all(socket, length);
  Reply reply{.header = std::string(header_length(length), '\0'), .data_size = 0};
  receive_all(socket, reply.header);
  require_ok(reply.header);
  reply.data_size = number_of(reply.header, "data_size");
  return reply;
}

std::string_view complete_reply(std::string_view bytes) {
  if (bytes.size() < 4) return {};
  const auto length = header_length(std::span<const char, 4>(bytes.data(), 4));
  if (bytes.size() < 4 + length) return {};
  const auto header = bytes.substr(4, length);
  require_ok(header);
  if (number_of(header, "data_size") != 0) throw Broken(fmt::format("unexpected body: {}", header));
  return header;
}

std::string_view value_of(std::string_view header, std::string_view key) {
  const auto name = header.find(fmt::format("\"{}\":", key));
  if (name == std::string_view::npos) return {};
  auto rest = header.substr(name + key.size() + 3);
  rest.remove_prefix(std::min(rest.find_first_not_of(' '), rest.size()));
  if (rest.starts_with('"')) return rest.substr(1, rest.find('"', 1) - 1);
  return rest.substr(0, rest.find_first_of(",} "));
}

std::uint64_t number_of(std::string_view header, std::string_view key) {
  const auto digits = value_of(header, key);
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  if (error != std::errc{} || end != digits.data() + digits.size()) {
    throw Broken(fmt::format("no number {} in {}", key, header));
  }
  return number;
}

}  // namespace bench
