// Listening sockets: ports, stale paths, limits of descriptors.
#include "net/listener.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>

#include "base/sys.h"
#include "unit/net_sockets.h"

using namespace ftpd;
using namespace ftpd::test;

namespace {

struct TempDir {
  TempDir() {
    const char* const base = std::getenv("TMPDIR");
    path = std::string(base != nullptr && *base != '\0' ? base : "/tmp") + "/ftpd-net-XXXXXX";
    REQUIRE(::mkdtemp(path.data()) != nullptr);
  }
  ~TempDir() {
    ::unlink((path + "/s").c_str());
    ::rmdir(path.c_str());
  }
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  [[nodiscard]] Address socket() const {
    auto address = Address::parse("unix:" + path + "/s");
    REQUIRE(address);
    return *address;
  }
  [[nodiscard]] bool occupied() const { return ::access((path + "/s").c_str(), F_OK) == 0; }
  std::string path;
};

}  // namespace

TEST_CASE("port 0 becomes a real port, and a connection is taken with its peer's address") {
  const auto listener = Listener::open(address_of("127.0.0.1:0"));
  REQUIRE(listener);
  CHECK(listener->address().port() != 0);
  const auto nobody = listener->accept();
  REQUIRE_FALSE(nobody);
  CHECK(nobody.error().reason == Reason::busy);
  CHECK(nobody.error().number == EAGAIN);

  const UniqueFd client = connect_to(listener->address());
  REQUIRE(client);
  const auto accepted = listener->accept();
  REQUIRE(accepted);
  CHECK(accepted->peer.text() == own_address(client.get()).text());
  CHECK((sys::fcntl(accepted->fd.get(), F_GETFL) & O_NONBLOCK) != 0);
  CHECK((sys::fcntl(accepted->fd.get(), F_GETFD) & FD_CLOEXEC) != 0);
}

TEST_CASE("a port that is taken is an error that names the address") {
  const auto first = Listener::open(address_of("127.0.0.1:0"));
  REQUIRE(first);
  const auto second = Listener::open(first->address());
  REQUIRE_FALSE(second);
  CHECK(second.error().number == EADDRINUSE);
  CHECK(second.error().text.starts_with(first->address().text()));
}

TEST_CASE("a Unix path appears, serves and is removed") {
  const TempDir dir;
  {
    auto listener = Listener::open(dir.socket());
    REQUIRE(listener);
    CHECK(dir.occupied());
    const Listener moved = std::move(*listener);
    CHECK(dir.occupied());
    const UniqueFd client = connect_to(dir.socket());
    REQUIRE(client);
    const auto accepted = moved.accept();
    REQUIRE(accepted);
    CHECK(accepted->peer.text() == "unix:");
  }
  CHECK_FALSE(dir.occupied());
}

TEST_CASE("a stale Unix path is replaced") {
  const TempDir dir;
  {
    const UniqueFd old(sys::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_storage storage;
    const socklen_t size = dir.socket().to_sockaddr(storage);
    REQUIRE(sys::bind(old.get(), reinterpret_cast<const sockaddr*>(&storage), size) == 0);
  }
  REQUIRE(dir.occupied());
  const auto listener = Listener::open(dir.socket());
  REQUIRE(listener);
  CHECK(connect_to(dir.socket()));
}

TEST_CASE("a Unix path where somebody listens is left alone") {
  const TempDir dir;
  const auto first = Listener::open(dir.socket());
  REQUIRE(first);
  const auto second = Listener::open(dir.socket());
  REQUIRE_FALSE(second);
  CHECK(second.error().reason == Reason::exists);
  CHECK(connect_to(dir.socket()));
}

TEST_CASE("a file that is no socket is left alone") {
  const TempDir dir;
  const UniqueFd file(::open((dir.path + "/s").c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600));
  REQUIRE(file);
  const auto listener = Listener::open(dir.socket());
  REQUIRE_FALSE(listener);
  CHECK(listener.error().reason == Reason::exists);
  CHECK(dir.occupied());
}

TEST_CASE("a listener does not remove the path of the one that took its place") {
  const TempDir dir;
  std::optional<Listener> successor;
  {
    const auto first = Listener::open(dir.socket());
    REQUIRE(first);
    REQUIRE(::unlink((dir.path + "/s").c_str()) == 0);
    auto second = Listener::open(dir.socket());
    REQUIRE(second);
    successor = std::move(*second);
  }
  CHECK(dir.occupied());
}

TEST_CASE("each call that opening needs may fail, and leaves no path behind") {
  const TempDir dir;
  for (const char* const call : {"socket", "bind", "fstatat", "listen"}) {
    const Failing failing(call, EIO);
    const auto listener = Listener::open(dir.socket());
    REQUIRE_FALSE(listener);
    CHECK(listener.error().number == EIO);
    // Where its own identity is unknown, the path is left to the next daemon to replace.
    if (std::string_view(call) != "fstatat") CHECK_FALSE(dir.occupied());
    ::unlink((dir.path + "/s").c_str());
  }
  for (const char* const call : {"setsockopt", "getsockname"}) {
    const Failing failing(call, EIO);
    CHECK_FALSE(Listener::open(address_of("127.0.0.1:0")));
  }
}

TEST_CASE("running out of descriptors or memory reads as busy, and the connection waits") {
  const auto listener = Listener::open(address_of("127.0.0.1:0"));
  REQUIRE(listener);
  const UniqueFd client = connect_to(listener->address());
  REQUIRE(client);
  for (const int number : {EMFILE, ENFILE, ENOBUFS, ENOMEM}) {
    const Failing failing("accept4", number);
    const auto accepted = listener->accept();
    REQUIRE_FALSE(accepted);
    CHECK(accepted.error().reason == Reason::busy);
    CHECK(accepted.error().number == number);
  }
  CHECK(listener->accept());
}

TEST_CASE("a connection that died in the queue is skipped, but not for ever") {
  const auto listener = Listener::open(address_of("127.0.0.1:0"));
  REQUIRE(listener);
  const UniqueFd client = connect_to(listener->address());
  REQUIRE(client);
  {
    const Failing failing("accept4", ECONNABORTED, 1000000);
    const auto accepted = listener->accept();
    REQUIRE_FALSE(accepted);
    CHECK(accepted.error().number == EAGAIN);
  }
  const Failing failing("accept4", ECONNABORTED, 3);
  CHECK(listener->accept());
}
