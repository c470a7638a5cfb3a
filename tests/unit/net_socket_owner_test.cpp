// Who is at the other end of a loopback connection.
#include "net/socket_owner.h"

#include <doctest/doctest.h>
#include <unistd.h>

#include <cerrno>
#include <string>

#include "base/sys.h"
#include "unit/net_sockets.h"

using namespace ftpd;
using namespace ftpd::test;

TEST_CASE("the owner of a loopback connection's other end is found until it closes") {
  auto owner = SocketOwner::create();
  REQUIRE(owner);
  for (const char* const text : {"127.0.0.1:0", "[::1]:0"}) {
    const auto listener = Listener::open(address_of(text));
    if (!listener) {
      WARN_MESSAGE(listener, text << " is not available here");
      continue;
    }
    Pair pair(*listener);
    const auto found = owner->of(pair.peer, pair.self);
    REQUIRE(found);
    CHECK(*found == ::getuid());
    pair.client.reset();
    const auto gone = owner->of(pair.peer, pair.self);
    REQUIRE_FALSE(gone);
    CHECK(gone.error().reason == Reason::not_found);
  }
}

TEST_CASE("the owner is found where an IPv4 peer came over an IPv6 socket") {
  const UniqueFd both(sys::socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!both) return;
  const int off = 0;
  REQUIRE(sys::setsockopt(both.get(), IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off) == 0);
  sockaddr_storage storage;
  socklen_t size = address_of("[::]:0").to_sockaddr(storage);
  if (sys::bind(both.get(), reinterpret_cast<const sockaddr*>(&storage), size) != 0) return;
  REQUIRE(sys::listen(both.get(), 8) == 0);
  const std::uint16_t port = own_address(both.get()).port();
  const UniqueFd client = connect_to(address_of("127.0.0.1:" + std::to_string(port)));
  REQUIRE(client);
  size = sizeof storage;
  const UniqueFd server(sys::accept4(both.get(), reinterpret_cast<sockaddr*>(&storage), &size, SOCK_CLOEXEC));
  REQUIRE(server);
  const Address peer = Address::from_sockaddr(storage, size);
  CHECK(peer.family() == AF_INET6);
  CHECK(peer.is_loopback());
  auto owner = SocketOwner::create();
  REQUIRE(owner);
  const auto found = owner->of(peer, own_address(server.get()));
  REQUIRE(found);
  CHECK(*found == ::getuid());
}

TEST_CASE("a socket that listens on the peer's port is not taken for the peer") {
  const auto listener = Listener::open(address_of("127.0.0.1:0"));
  REQUIRE(listener);
  auto owner = SocketOwner::create();
  REQUIRE(owner);
  const auto found = owner->of(listener->address(), address_of("127.0.0.1:9"));
  REQUIRE_FALSE(found);
  CHECK(found.error().reason == Reason::not_found);
}

TEST_CASE("a Unix peer has no owner here, and the next question is answered all the same") {
  auto owner = SocketOwner::create();
  REQUIRE(owner);
  const auto refused = owner->of(address_of("unix:/run/x"), address_of("127.0.0.1:9"));
  REQUIRE_FALSE(refused);
  CHECK(refused.error().reason == Reason::not_found);
  const auto listener = Listener::open(address_of("127.0.0.1:0"));
  REQUIRE(listener);
  const Pair pair(*listener);
  {
    const Failing failing("recv", EIO);  // the answer stays in the socket
    CHECK_FALSE(owner->of(pair.peer, address_of("127.0.0.1:9")));
  }
  const auto found = owner->of(pair.peer, pair.self);
  REQUIRE(found);
  CHECK(*found == ::getuid());
}

TEST_CASE("a kernel without sock_diag reads as unsupported") {
  const Failing failing("socket", EPROTONOSUPPORT);
  const auto owner = SocketOwner::create();
  REQUIRE_FALSE(owner);
  CHECK(owner.error().reason == Reason::unsupported);
}
