// The output queue: order, partial writes, files that are cold or shrink, budgets, failures.
#include "net/out_queue.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include <cerrno>
#include <string>
#include <string_view>

#include "base/sys.h"

using namespace ftpd;
using Progress = OutQueue::Progress;

namespace {

constexpr std::size_t plenty = 1U << 30U;

/// A stream with a small send buffer, and its other end.
struct Wire {
  Wire() : Wire(make()) {}
  explicit Wire(std::pair<int, int> ends) : stream(UniqueFd(ends.first)), other(ends.second) {
    const int small = 4096;
    REQUIRE(sys::setsockopt(stream.fd(), SOL_SOCKET, SO_SNDBUF, &small, sizeof small) == 0);
  }
  static std::pair<int, int> make() {
    int ends[2];
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) == 0);
    return {ends[0], ends[1]};
  }
  /// Everything that arrived so far.
  std::string receive() {
    std::string all;
    char buffer[65536];
    for (;;) {
      const ssize_t size = sys::recv(other.get(), buffer, sizeof buffer, MSG_DONTWAIT);
      if (size <= 0) return all;
      all.append(buffer, static_cast<std::size_t>(size));
    }
  }
  Stream stream;
  UniqueFd other;
};

std::string pattern(std::size_t size, unsigned seed = 1) {
  std::string text(size, '\0');
  for (char& c : text) {
    seed = seed * 1664525U + 1013904223U;
    c = static_cast<char>('a' + (seed >> 24U) % 26);
  }
  return text;
}

SharedFd file_of(std::string_view text) {
  UniqueFd fd(sys::memfd_create("file", MFD_CLOEXEC));
  REQUIRE(fd);
  REQUIRE(sys::pwrite(fd.get(), text.data(), text.size(), 0) == static_cast<ssize_t>(text.size()));
  return std::make_shared<const UniqueFd>(std::move(fd));
}

/// Drains and receives until the queue stops for another reason than a full socket or the budget.
Progress drain_all(OutQueue& queue, Wire& wire, std::string& received, std::size_t budget = plenty) {
  for (;;) {
    const Progress progress = queue.drain(wire.stream, budget);
    received += wire.receive();
    if (progress != Progress::blocked && progress != Progress::budget) return progress;
  }
}

const char* failing_call = "";
int failing_errno = 0;
int calls_until_failure = 0;
int calls_seen = 0;

/// Makes the `nth` call of one name fail (1 is the next), all from there on with -nth, each with 0.
struct Failing {
  Failing(const char* call, int number, int nth) {
    failing_call = call;
    failing_errno = number;
    calls_until_failure = nth;
    calls_seen = 0;
    sys::set_fault_hook([](const char* name) {
      if (std::string_view(name) != failing_call) return 0;
      ++calls_seen;
      const bool fails =
          calls_until_failure > 0 ? calls_seen == calls_until_failure : calls_seen >= -calls_until_failure;
      return fails ? failing_errno : 0;
    });
  }
  ~Failing() { sys::set_fault_hook(nullptr); }
  Failing(const Failing&) = delete;
  Failing& operator=(const Failing&) = delete;
};

}  // namespace

TEST_CASE("an empty queue costs 24 bytes and drains to empty") {
  CHECK(sizeof(OutQueue) <= 24);
  OutQueue queue;
  Wire wire;
  CHECK(queue.empty());
  CHECK(queue.drain(wire.stream, plenty) == Progress::empty);
  queue.push("");
  queue.push(std::string());
  queue.push_file({file_of(""), 0, 0, true});
  CHECK(queue.empty());
  CHECK(queue.memory() == 0);
  CHECK(queue.error() == 0);
}

TEST_CASE("memory, files and tickets leave in the order they were queued") {
  OutQueue queue;
  Wire wire;
  const std::string file = pattern(5000);
  queue.push("one ");
  queue.push(std::string("two "));
  const auto first = queue.reserve();
  queue.push("three ");
  queue.push_file({file_of(file), 100, 4000, true});
  const auto second = queue.reserve();
  queue.push("four");
  CHECK(queue.tickets() == 2);
  CHECK(queue.memory() == 8 + 64 + 6 + 64 + 4);

  std::string received;
  CHECK(drain_all(queue, wire, received) == Progress::waiting);
  CHECK(received == "one two ");
  queue.fill(second, "second ");
  CHECK(queue.tickets() == 1);
  CHECK(drain_all(queue, wire, received) == Progress::waiting);
  CHECK(received == "one two ");
  queue.fill(first, "first ");
  CHECK(drain_all(queue, wire, received) == Progress::empty);
  CHECK(received == "one two first three " + file.substr(100, 4000) + "second four");
  CHECK(queue.empty());
  CHECK(queue.sent() == received.size());
}

TEST_CASE("tickets are not used again after the queue was empty, and one may be filled with nothing") {
  OutQueue queue;
  Wire wire;
  const auto first = queue.reserve();
  queue.fill(first, "");
  CHECK(queue.memory() == 0);
  CHECK(queue.drain(wire.stream, plenty) == Progress::empty);
  const auto second = queue.reserve();
  CHECK(first != second);
  queue.fill(second, "x");
  queue.push("y");
  CHECK(queue.drain(wire.stream, plenty) == Progress::empty);
  CHECK(wire.receive() == "xy");
}

TEST_CASE("everything arrives through a socket that takes little at a time") {
  OutQueue queue;
  Wire wire;
  std::string expected;
  for (unsigned i = 0; i < 40; ++i) {
    const std::string memory = pattern(i * 997 % 20000 + 1, i);
    queue.push(memory);
    expected += memory;
    if (i % 4 == 0) {
      const std::string file = pattern(30000 + i, i + 100);
      queue.push_file({file_of(file), 0, file.size(), i % 8 == 0});
      expected += file;
    }
  }
  std::string received;
  CHECK(drain_all(queue, wire, received) == Progress::empty);
  CHECK(received == expected);
  CHECK(queue.sent() == expected.size());
}

TEST_CASE("what is sent no longer counts as memory, and more can join a chunk partly sent") {
  OutQueue queue;
  Wire wire;
  const std::string text = pattern(200000);
  queue.push(text);
  CHECK(queue.drain(wire.stream, plenty) == Progress::blocked);
  CHECK(queue.memory() == text.size() - queue.sent());
  queue.push("tail");
  std::string received = wire.receive();
  CHECK(drain_all(queue, wire, received) == Progress::empty);
  CHECK(received == text + "tail");
}

TEST_CASE("small pushes are joined into one call, up to 64 chunks go in one") {
  OutQueue queue;
  Wire wire;
  for (int i = 0; i < 100; ++i) queue.push("0123456789");
  {
    const Failing counting("sendmsg", 0, 0);
    CHECK(queue.drain(wire.stream, plenty) == Progress::empty);
    CHECK(calls_seen == 1);
  }
  CHECK(wire.receive().size() == 1000);
  for (int i = 0; i < 65; ++i) queue.fill(queue.reserve(), "x");
  const Failing counting("sendmsg", 0, 0);
  CHECK(queue.drain(wire.stream, plenty) == Progress::empty);
  CHECK(calls_seen == 2);
  CHECK(wire.receive().size() == 65);
}

TEST_CASE("a drain sends no more than its budget") {
  OutQueue queue;
  Wire wire;
  const std::string file = pattern(1000);
  queue.push(pattern(1000));
  queue.push_file({file_of(file), 0, file.size(), true});
  CHECK(queue.drain(wire.stream, 0) == Progress::budget);
  CHECK(queue.drain(wire.stream, 300) == Progress::budget);
  CHECK(wire.receive().size() == 300);
  CHECK(queue.drain(wire.stream, 1000) == Progress::budget);
  CHECK(wire.receive().size() == 1000);
  CHECK(queue.drain(wire.stream, 700) == Progress::empty);
  CHECK(wire.receive().size() == 700);
}

TEST_CASE("a file that shrank is told from one that was sent") {
  OutQueue queue;
  Wire wire;
  queue.push_file({file_of(pattern(1000)), 0, 1001, true});
  queue.push("behind");
  std::string received;
  CHECK(drain_all(queue, wire, received) == Progress::file_short);
  CHECK(received == pattern(1000));
  CHECK(drain_all(queue, wire, received) == Progress::file_short);
  CHECK_FALSE(queue.empty());

  OutQueue behind_the_end;
  behind_the_end.push_file({file_of("x"), 1ULL << 52U, 1ULL << 52U, false});
  CHECK(behind_the_end.drain(wire.stream, plenty) == Progress::file_short);
}

TEST_CASE("cold bytes are asked for, and once warmed go out without another look") {
  OutQueue queue;
  Wire wire;
  const std::string file = pattern(600000);
  queue.push("header");
  queue.push_file({file_of(file), 0, file.size(), false});
  const Failing cold("preadv2", EAGAIN, 0);
  std::string received;
  CHECK(drain_all(queue, wire, received) == Progress::cold);
  CHECK(received == "header");
  CHECK(queue.front_file().offset == 0);
  CHECK(queue.front_file().size == file.size());
  queue.warmed(100000);
  calls_seen = 0;
  CHECK(queue.drain(wire.stream, 50000) != Progress::cold);
  CHECK(calls_seen == 0);
  received += wire.receive();
  CHECK(drain_all(queue, wire, received) == Progress::cold);
  CHECK(received == "header" + file.substr(0, 100000));
  CHECK(queue.front_file().offset == 100000);
  CHECK(queue.front_file().size == 500000);
  queue.warmed(plenty);
  CHECK(drain_all(queue, wire, received) == Progress::empty);
  CHECK(received == "header" + file);
}

TEST_CASE("a cold chunk in the middle stops the file there") {
  OutQueue queue;
  Wire wire;
  const std::string file = pattern(600000);
  queue.push_file({file_of(file), 0, file.size(), false});
  std::string received;
  // Each chunk of 256 KiB takes two looks: the first page of the second chunk is missing.
  {
    const int large = 4 << 20;
    REQUIRE(sys::setsockopt(wire.stream.fd(), SOL_SOCKET, SO_SNDBUF, &large, sizeof large) == 0);
    const Failing cold("preadv2", EAGAIN, -3);
    const Progress progress = queue.drain(wire.stream, plenty);
    CHECK((progress == Progress::blocked || progress == Progress::cold));
    CHECK(queue.sent() <= 256U << 10U);
    CHECK(queue.sent() > 0);
  }
  received += wire.receive();
  CHECK(drain_all(queue, wire, received) == Progress::empty);
  CHECK(received == file);
}

TEST_CASE("a file system that can't tell counts as warm") {
  OutQueue queue;
  Wire wire;
  queue.push_file({file_of("contents"), 0, 8, false});
  const Failing cold("preadv2", EOPNOTSUPP, 0);
  CHECK(queue.drain(wire.stream, plenty) == Progress::empty);
  CHECK(wire.receive() == "contents");
}

TEST_CASE("whichever call fails, the queue says so and keeps its place") {
  for (const char* const call : {"sendmsg", "sendfile"}) {
    for (int nth = 1; nth <= 3; ++nth) {
      OutQueue queue;
      Wire wire;
      const std::string file = pattern(50000);
      queue.push(pattern(30000));
      queue.push_file({file_of(file), 0, file.size(), true});
      std::string received;
      {
        const Failing failing(call, ECONNRESET, nth);
        CHECK(drain_all(queue, wire, received, 8192) == Progress::failed);
        CHECK(queue.error() == ECONNRESET);
      }
      CHECK(drain_all(queue, wire, received) == Progress::empty);
      CHECK(received == pattern(30000) + file);
    }
  }
}

TEST_CASE("a peer that is gone is a failure, not a signal") {
  OutQueue queue;
  Wire wire;
  wire.other.reset();
  queue.push("text");
  CHECK(queue.drain(wire.stream, plenty) == Progress::failed);
  CHECK(queue.error() == EPIPE);
}

TEST_CASE("the file closes with the last that shares it") {
  const SharedFd file = file_of("contents");
  Wire wire;
  {
    OutQueue queue;
    queue.push_file({file, 0, 8, true});
    CHECK(file.use_count() == 2);
    CHECK(queue.drain(wire.stream, plenty) == Progress::empty);
    CHECK(file.use_count() == 1);
    queue.push_file({file, 0, 8, true});
  }
  CHECK(file.use_count() == 1);
}
