// The small values of base: descriptors, errors, buffers, deadlines, callbacks, log fields.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <simdjson.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>
#include <utility>

#include "base/buffer.h"
#include "base/callback.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/unique_fd.h"

using namespace ftpd;
using namespace std::chrono_literals;

namespace {

bool is_open(int fd) { return ::fcntl(fd, F_GETFD) != -1; }
int new_fd() { return ::open("/dev/null", O_RDONLY | O_CLOEXEC); }

struct Adder {
  int sum = 0;
  void add(int number) { sum += number; }
};

}  // namespace

TEST_CASE("a descriptor is closed once, by its last owner") {
  const int fd = new_fd();
  {
    UniqueFd first(fd);
    UniqueFd second(std::move(first));
    CHECK_FALSE(first);  // NOLINT(bugprone-use-after-move): what a moved-from owner holds is the point
    CHECK(second.get() == fd);
    CHECK(is_open(fd));
  }
  CHECK_FALSE(is_open(fd));
}

TEST_CASE("assigning to an owner closes what it held, and keeps errno") {
  UniqueFd owner(new_fd());
  const int before = owner.get();
  UniqueFd next(new_fd());
  const int after = next.get();
  errno = EBUSY;
  owner = std::move(next);
  CHECK(errno == EBUSY);
  CHECK_FALSE(is_open(before));
  CHECK(owner.get() == after);
  const int released = owner.release();
  CHECK_FALSE(owner);
  CHECK(is_open(released));
  ::close(released);
}

TEST_CASE("errno values become reasons") {
  const std::pair<int, Reason> table[] = {
      {ENOENT, Reason::not_found},    {EEXIST, Reason::exists},
      {EISDIR, Reason::is_directory}, {ENOTDIR, Reason::not_directory},
      {ENOTEMPTY, Reason::not_empty}, {EACCES, Reason::denied},
      {ELOOP, Reason::denied},        {EXDEV, Reason::denied},
      {EFBIG, Reason::too_large},     {EDQUOT, Reason::quota},
      {ENOSPC, Reason::no_space},     {EINVAL, Reason::invalid},
      {EMFILE, Reason::busy},         {ETIMEDOUT, Reason::timeout},
      {ENOSYS, Reason::unsupported},  {EIO, Reason::system},
  };
  for (const auto& [number, reason] : table) {
    const Error error = Error::from_errno(number, "call");
    CHECK(error.reason == reason);
    CHECK(error.number == number);
  }
  CHECK(Error::from_errno(ENOSPC, "write x").text == "write x: No space left on device");
}

TEST_CASE("errno values have names") {
  CHECK(errno_name(ENOSPC) == "ENOSPC");
  CHECK(errno_name(0) == "");
  CHECK(errno_name(123456) == "");
}

TEST_CASE("a buffer has the padding that the JSON parser reads into") {
  CHECK(Buffer::padding >= simdjson::SIMDJSON_PADDING);
}

TEST_CASE("a buffer hands out what was filled in, and its room again once that is consumed") {
  Buffer buffer(8);
  CHECK(buffer.empty());
  CHECK(buffer.room().size() == 8);
  std::memcpy(buffer.room().data(), "abcdefgh", 8);
  buffer.filled(8);
  CHECK(buffer.room().empty());
  buffer.consume(3);
  CHECK(buffer.unread() == "defgh");
  CHECK(buffer.room().empty());
  buffer.compact();
  CHECK(buffer.unread() == "defgh");
  CHECK(buffer.room().size() == 3);
  buffer.consume(5);
  CHECK(buffer.empty());
  CHECK(buffer.room().size() == 8);
}

TEST_CASE("a deadline neither overflows nor comes with a span of zero") {
  const TimePoint now = Clock::now();
  CHECK(deadline_after(now, 5s) == now + 5s);
  CHECK(deadline_after(now, 0s) == never);
  CHECK(deadline_after(now, Duration::max()) == never);
}

TEST_CASE("a callback calls its object's member") {
  Adder adder;
  Callback<void(int)> callback;
  CHECK_FALSE(callback);
  callback = Callback<void(int)>::to<&Adder::add>(adder);
  CHECK(callback);
  callback(3);
  callback(4);
  CHECK(adder.sum == 7);
}

TEST_CASE("log levels have names, and a level admits those more severe") {
  CHECK(log::level_from_name("warning") == log::Level::warning);
  CHECK_FALSE(log::level_from_name("loud"));
  log::set_level(log::Level::warning);
  CHECK(log::enabled(log::Level::error));
  CHECK(log::enabled(log::Level::warning));
  CHECK_FALSE(log::enabled(log::Level::info));
  log::set_level(log::Level::info);
}

TEST_CASE("a logged value can't forge a field or a line") {
  const auto field = [](std::string_view value) {
    std::string line;
    log::append_field(line, "key", value);
    return line;
  };
  CHECK(field("plain-1.2/x") == " key=plain-1.2/x");
  CHECK(field("") == " key=\"\"");
  CHECK(field("a b") == " key=\"a b\"");
  CHECK(field("a=b") == " key=\"a=b\"");
  CHECK(field("a\"b\\c") == " key=\"a\\\"b\\\\c\"");
  CHECK(field("x\nerror forged") == " key=\"x\\u000aerror forged\"");
  CHECK(field("\x7f") == " key=\"\\u007f\"");
}
