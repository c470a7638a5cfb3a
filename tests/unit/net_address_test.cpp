// Addresses: text, kernel structures, what counts as loopback.
#include "net/address.h"

#include <doctest/doctest.h>

#include <cstddef>
#include <cstring>
#include <string>

using namespace ftpd;

namespace {

Address parsed(std::string_view text) {
  const auto address = Address::parse(text);
  INFO(text);
  REQUIRE(address);
  return *address;
}

std::string refusal(std::string_view text) {
  const auto address = Address::parse(text);
  INFO(text);
  REQUIRE_FALSE(address);
  CHECK(address.error().reason == Reason::invalid);
  return address.error().text;
}

}  // namespace

TEST_CASE("an address says itself as it is parsed") {
  for (const char* const text :
       {"127.0.0.1:8080", "0.0.0.0:0", "192.0.2.7:65535", "[::1]:8080", "[::]:1", "[2001:db8::1]:80",
        "[fe80::1%3]:80", "[::ffff:192.0.2.1]:80", "unix:/run/ftpd/ftpd.sock", "unix:relative"}) {
    CHECK(parsed(text).text() == text);
  }
  CHECK(parsed("localhost:80").text() == "127.0.0.1:80");
  CHECK(parsed(":80").text() == "127.0.0.1:80");
  CHECK(parsed("[2001:DB8:0:0::1]:80").text() == "[2001:db8::1]:80");
  CHECK(Address().text() == "");
}

TEST_CASE("what is not an address is refused with what is wrong") {
  CHECK(refusal("").contains("no port"));
  CHECK(refusal("127.0.0.1").contains("no port"));
  CHECK(refusal("[::1]").contains("no port"));
  CHECK(refusal("127.0.0.1:").contains("not a port"));
  CHECK(refusal("127.0.0.1:65536").contains("not a port"));
  CHECK(refusal("127.0.0.1:-1").contains("not a port"));
  CHECK(refusal("127.0.0.1:+1").contains("not a port"));
  CHECK(refusal("127.0.0.1: 80").contains("not a port"));
  CHECK(refusal("127.0.0.1:80x").contains("not a port"));
  CHECK(refusal("::1:80").contains("brackets"));
  CHECK(refusal("[::1:80").contains("bracket is missing"));
  CHECK(refusal("::1]:80").contains("bracket is missing"));
  CHECK(refusal("[::1]x:80").contains("bracket is missing"));
  CHECK(refusal("[]:80").contains("not an IPv6 address"));
  CHECK(refusal("[:80").contains("bracket"));
  CHECK(refusal("[127.0.0.1]:80").contains("not an IPv6 address"));
  CHECK(refusal("[fe80::1%]:80").contains("number of an interface"));
  CHECK(refusal("[fe80::1%eth0]:80").contains("number of an interface"));
  CHECK(refusal("[fe80::1%0]:80").contains("number of an interface"));
  CHECK(refusal("host.example:80").contains("not looked up"));
  CHECK(refusal("127.0.0.256:80").contains("not looked up"));
  CHECK(refusal("127.1:80").contains("not looked up"));
  CHECK(refusal(std::string_view("127.0.0.1\0x:80", 14)).contains("not looked up"));
  CHECK(refusal("unix:").contains("lacks the path"));
  CHECK(refusal("unix:@name").contains("abstract"));
  CHECK(refusal(std::string_view("unix:\0name", 10)).contains("abstract"));
  CHECK(refusal(std::string_view("unix:/a\0b", 9)).contains("NUL"));
}

TEST_CASE("a Unix path has at most 107 bytes") {
  const std::string longest(107, 'p');
  const Address address = parsed("unix:" + longest);
  CHECK(address.path() == longest);
  sockaddr_storage storage;
  const socklen_t size = address.to_sockaddr(storage);
  CHECK(size == sizeof(sockaddr_un));
  CHECK(Address::from_sockaddr(storage, size).path() == longest);
  CHECK(refusal("unix:" + longest + "p").contains("at most 107"));
}

TEST_CASE("an address survives the way through the kernel's structures") {
  for (const char* const text :
       {"127.0.0.1:8080", "[2001:db8::1%7]:80", "unix:/run/x", "[::ffff:192.0.2.1]:9"}) {
    const Address address = parsed(text);
    sockaddr_storage storage;
    const socklen_t size = address.to_sockaddr(storage);
    const Address back = Address::from_sockaddr(storage, size);
    CHECK(back.text() == text);
    CHECK(back.family() == address.family());
    CHECK(back.port() == address.port());
  }
}

TEST_CASE("a peer without a name, an abstract one and a cut-off structure are harmless") {
  sockaddr_storage storage{};
  storage.ss_family = AF_UNIX;
  const Address unnamed = Address::from_sockaddr(storage, sizeof(sa_family_t));
  CHECK(unnamed.is_unix());
  CHECK(unnamed.text() == "unix:");
  sockaddr_un abstract{};
  abstract.sun_family = AF_UNIX;
  std::memcpy(abstract.sun_path, "\0name", 5);
  std::memcpy(&storage, &abstract, sizeof abstract);
  CHECK(Address::from_sockaddr(storage, offsetof(sockaddr_un, sun_path) + 5).text() == "unix:");
  CHECK(Address::from_sockaddr(storage, 0).family() == AF_UNSPEC);
  storage.ss_family = AF_INET;
  CHECK(Address::from_sockaddr(storage, 4).family() == AF_UNSPEC);
  storage.ss_family = AF_INET6;
  CHECK(Address::from_sockaddr(storage, sizeof(sockaddr_in)).family() == AF_UNSPEC);
}

TEST_CASE("loopback is 127/8, ::1 and the mapped 127/8, and no Unix socket") {
  for (const char* const text : {"127.0.0.1:1", "127.255.1.2:1", "[::1]:1", "[::ffff:127.0.0.1]:1"}) {
    CHECK(parsed(text).is_loopback());
  }
  for (const char* const text : {"128.0.0.1:1", "0.0.0.0:1", "[::]:1", "[::2]:1", "[::ffff:128.0.0.1]:1",
                                 "[::7f00:1]:1", "unix:/run/x"}) {
    CHECK_FALSE(parsed(text).is_loopback());
  }
  CHECK_FALSE(Address().is_loopback());
}

TEST_CASE("the host is the same whichever family of socket an IPv4 peer came over") {
  CHECK(parsed("192.0.2.1:80").host() == "192.0.2.1");
  CHECK(parsed("[::ffff:192.0.2.1]:81").host() == "192.0.2.1");
  CHECK(parsed("[2001:db8::1]:80").host() == "2001:db8::1");
  CHECK(parsed("unix:/run/x").host() == "unix");
}

TEST_CASE("an address is small and copies share nothing that can change") {
  CHECK(sizeof(Address) <= 40);
  Address first = parsed("unix:/run/first");
  const Address copy = first;
  first = parsed("127.0.0.1:80");
  CHECK(copy.path() == "/run/first");
  CHECK(first.path() == "");
}
