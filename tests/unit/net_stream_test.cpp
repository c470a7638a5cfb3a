// A stream's single attempts: bytes, nothing yet, the end, failure.
#include "net/stream.h"

#include <doctest/doctest.h>
#include <fcntl.h>

#include <cerrno>
#include <string>
#include <string_view>

#include "base/sys.h"
#include "unit/net_sockets.h"

using namespace ftpd;
using namespace ftpd::test;

TEST_CASE("a TCP stream is configured, a Unix one takes no harm") {
  const auto listener = Listener::open(address_of("127.0.0.1:0"));
  REQUIRE(listener);
  Pair pair(*listener);
  Stream stream(std::move(pair.server));
  stream.configure();
  int value = 0;
  socklen_t size = sizeof value;
  REQUIRE(sys::getsockopt(stream.fd(), SOL_SOCKET, SO_KEEPALIVE, &value, &size) == 0);
  CHECK(value == 1);
  int ends[2];
  REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) == 0);
  Stream local{UniqueFd(ends[0])};
  const UniqueFd other(ends[1]);
  local.configure();
  char buffer[8];
  CHECK(local.read(buffer).how == Moved::How::blocked);
}

TEST_CASE("a stream tells bytes, nothing yet, the end and failure apart") {
  int ends[2];
  REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) == 0);
  Stream stream{UniqueFd(ends[0])};
  Stream other{UniqueFd(ends[1])};
  char buffer[8];
  REQUIRE(sys::send(other.fd(), "abc", 3, 0) == 3);
  const Moved some = stream.read(buffer);
  CHECK(some.how == Moved::How::some);
  CHECK(some.count == 3);
  CHECK(stream.read(buffer).how == Moved::How::blocked);
  other.end_sending();
  CHECK(stream.read(buffer).how == Moved::How::ended);
  const Failing failing("recv", ECONNRESET);
  const Moved failed = stream.read(buffer);
  CHECK(failed.how == Moved::How::failed);
  CHECK(failed.error == ECONNRESET);
}

TEST_CASE("bytes go through a pipe from one socket to another") {
  int ends[2];
  REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) == 0);
  Stream stream{UniqueFd(ends[0])};
  UniqueFd other(ends[1]);
  REQUIRE(sys::pipe2(ends, O_CLOEXEC | O_NONBLOCK) == 0);
  const UniqueFd reader(ends[0]);
  UniqueFd writer(ends[1]);
  CHECK(stream.splice_to_pipe(writer.get(), 64).how == Moved::How::blocked);
  CHECK(stream.splice_from_pipe(reader.get(), 64).how == Moved::How::blocked);
  REQUIRE(sys::send(other.get(), "abcdef", 6, 0) == 6);
  CHECK(stream.splice_to_pipe(writer.get(), 4).count == 4);
  CHECK(stream.splice_from_pipe(reader.get(), 64).count == 4);
  char buffer[8];
  CHECK(sys::recv(other.get(), buffer, sizeof buffer, 0) == 4);
  CHECK(std::string_view(buffer, 4) == "abcd");
  writer.reset();
  CHECK(stream.splice_from_pipe(reader.get(), 64).how == Moved::How::ended);
  other.reset();
  CHECK(stream.splice_to_pipe(reader.get(), 64).how == Moved::How::failed);
}

TEST_CASE("a refused connection leaves its error for taking") {
  UniqueFd fd(sys::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  sockaddr_storage storage;
  std::string closed;
  {
    const auto listener = Listener::open(address_of("127.0.0.1:0"));
    REQUIRE(listener);
    closed = listener->address().text();
  }
  const socklen_t size = address_of(closed).to_sockaddr(storage);
  const int result = sys::connect(fd.get(), reinterpret_cast<const sockaddr*>(&storage), size);
  CHECK(result == -1);
  const bool at_once = errno == ECONNREFUSED;
  Stream stream(std::move(fd));
  if (!at_once) CHECK(stream.take_error() == ECONNREFUSED);
  CHECK(stream.take_error() == 0);
}
