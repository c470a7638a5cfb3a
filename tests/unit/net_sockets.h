// What the tests of net share: loopback connections and calls that fail.
#pragma once

#include <doctest/doctest.h>

#include <string>
#include <string_view>
#include <utility>

#include "base/sys.h"
#include "net/listener.h"

namespace ftpd::test {

inline Address address_of(std::string_view text) {
  auto address = Address::parse(text);
  REQUIRE(address);
  return *address;
}

/// A blocking connection to `address`; empty where there is none.
inline UniqueFd connect_to(const Address& address) {
  UniqueFd fd(sys::socket(address.family(), SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_storage storage;
  const socklen_t size = address.to_sockaddr(storage);
  if (!fd || sys::connect(fd.get(), reinterpret_cast<const sockaddr*>(&storage), size) != 0) return {};
  return fd;
}

inline Address own_address(int fd) {
  sockaddr_storage storage{};
  socklen_t size = sizeof storage;
  REQUIRE(sys::getsockname(fd, reinterpret_cast<sockaddr*>(&storage), &size) == 0);
  return Address::from_sockaddr(storage, size);
}

/// Both ends of a connection to `listener`.
struct Pair {
  explicit Pair(const Listener& listener) : client(connect_to(listener.address())) {
    REQUIRE(client);
    auto accepted = listener.accept();
    REQUIRE(accepted);
    server = std::move(accepted->fd);
    peer = accepted->peer;
    self = own_address(server.get());
  }
  UniqueFd client;
  UniqueFd server;
  Address peer;
  Address self;
};

inline const char* failing_call = "";
inline int failing_errno = 0;
inline int failures_left = 0;

/// Makes the next `times` calls of one name fail.
struct Failing {
  Failing(const char* call, int number, int times = 1) {
    failing_call = call;
    failing_errno = number;
    failures_left = times;
    sys::set_fault_hook([](const char* name) {
      if (std::string_view(name) != failing_call || failures_left == 0) return 0;
      --failures_left;
      return failing_errno;
    });
  }
  ~Failing() { sys::set_fault_hook(nullptr); }
  Failing(const Failing&) = delete;
  Failing& operator=(const Failing&) = delete;
};

}  // namespace ftpd::test
