// A connection against a peer that the test plays.
#include <doctest/doctest.h>
#include <stdlib.h>
#include <unistd.h>

#include <string>
#include <thread>

#include "base/sys.h"
#include "client/connection.h"
#include "client/listing.h"
#include "client/refusal.h"
#include "client/remote_exec.h"
#include "ftpd/json_write.h"

using namespace ftpd;
using namespace ftpd::client;

namespace {

std::string frame(std::string_view header, std::string_view body = {}) {
  std::string out;
  append_frame(out, header);
  return out += body;
}

/// Sends `count` requests, one after the other without waiting, and writes down what comes.
class Recorder final : public Task {
 public:
  explicit Recorder(unsigned count) : left_(count) {}
  Outcome<Supply> supply(Connection& connection) override {
    if (left_ == 0) return Supply::finished;
    --left_;
    connection.request(R"({"cmd":"ping"})");
    return Supply::queued;
  }
  Outcome<void> header(const Header& header) override {
    log += header.has("error") ? "E" : "H";
    return {};
  }
  Outcome<Next> body(std::string_view bytes) override {
    log += bytes;
    return stop_at_body ? Next::stop : Next::go_on;
  }
  Outcome<Next> end() override {
    log += ";";
    return stop_at_end ? Next::stop : Next::go_on;
  }
  std::string log;
  bool stop_at_end = false;
  bool stop_at_body = false;

 private:
  unsigned left_;
};

struct Pair {
  UniqueFd ours, theirs;
  Pair() {
    int fds[2];
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
    ours.reset(fds[0]);
    theirs.reset(fds[1]);
  }
  void say(std::string_view bytes) const {
    REQUIRE(sys::send(theirs.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL) ==
            static_cast<ssize_t>(bytes.size()));
  }
};

Header parse(HeaderParser& parser, std::string_view text) {
  const auto header = parser.parse(text, false);
  REQUIRE(header);
  return *header;
}

}  // namespace

TEST_CASE("replies to pipelined requests are taken in order, however they are split") {
  const std::string replies =
      frame(R"({"ok":true,"data_size":2})", "ab") + frame(R"({"ok":true,"more":true,"data_size":1})", "c") +
      frame(R"({"ok":true,"data_size":1})", "d") + frame(R"({"ok":false,"error":"busy","data_size":0})");
  for (std::size_t split = 0; split <= replies.size(); ++split) {
    Pair pair;
    Connection connection{std::move(pair.ours), "peer"};
    Recorder task{3};
    std::thread peer{[&] {
      (void)!::write(pair.theirs.get(), replies.data(), split);
      std::this_thread::yield();
      (void)!::write(pair.theirs.get(), replies.data() + split, replies.size() - split);
    }};
    const auto done = connection.run(task);
    peer.join();
    REQUIRE(done);
    CHECK(task.log == "Hab;HcHd;E;");
  }
}

TEST_CASE("a connection that ends early is an error of the connection") {
  Pair pair;
  Connection connection{std::move(pair.ours), "peer"};
  Recorder task{1};
  SUBCASE("before the reply") {}
  SUBCASE("in a header") { pair.say(frame(R"({"ok":true,"data_size":0})").substr(0, 9)); }
  SUBCASE("in a body") { pair.say(frame(R"({"ok":true,"data_size":5})", "abc")); }
  SUBCASE("between the frames of a message") { pair.say(frame(R"({"ok":true,"more":true,"data_size":0})")); }
  sys::shutdown(pair.theirs.get(), SHUT_WR);
  const auto done = connection.run(task);
  REQUIRE_FALSE(done);
  CHECK(done.error().who == Failure::Who::connection);
}

TEST_CASE("a peer that does not speak frames is told apart") {
  Pair pair;
  Connection connection{std::move(pair.ours), "peer"};
  Recorder task{1};
  pair.say("HTTP/1.1 400 Bad Request\r\n\r\n");
  const auto done = connection.run(task);
  REQUIRE_FALSE(done);
  CHECK(done.error().who == Failure::Who::connection);
  CHECK(done.error().text.find("no ftpd") != std::string::npos);
}

TEST_CASE("a body is taken piece by piece: a run that stops in it is gone on with") {
  Pair pair;
  Connection connection{std::move(pair.ours), "peer"};
  Recorder task{1};
  task.stop_at_body = true;
  pair.say(frame(R"({"ok":true,"more":true,"data_size":3})", "abc"));
  REQUIRE(connection.run(task));
  CHECK(task.log == "Habc");
  pair.say(frame(R"({"ok":true,"more":true,"data_size":2})", "de") + frame(R"({"ok":true,"data_size":0})"));
  REQUIRE(connection.run(task));
  CHECK(task.log == "HabcHde");
  REQUIRE(connection.run(task));
  CHECK(task.log == "HabcHdeH;");
}

TEST_CASE("bytes of a body may be put where they belong") {
  Pair pair;
  Connection connection{std::move(pair.ours), "peer"};
  connection.request(R"({"cmd":"put"})");
  connection.body("ab");
  connection.body_in_place(100, [](char* bytes, std::size_t most) {
    CHECK(most == 100);
    bytes[0] = 'c';
    return std::size_t{1};
  });
  connection.body("d");
  pair.say(frame(R"({"ok":true,"data_size":0})"));
  Recorder task{0};
  task.stop_at_end = true;
  // Everything is written before the reply is waited for.
  REQUIRE(connection.run(task));
  connection.request(R"({"cmd":"x"})");
  pair.say(frame(R"({"ok":true,"data_size":0})"));
  task.stop_at_end = false;
  REQUIRE(connection.run(task));
  char got[100];
  const ssize_t count = ::recv(pair.theirs.get(), got, sizeof got, MSG_DONTWAIT);
  REQUIRE(count > 0);
  CHECK(std::string{got, static_cast<std::size_t>(count)} ==
        frame(R"({"cmd":"put"})", "abcd") + frame(R"({"cmd":"x"})"));
}

TEST_CASE("a silent peer tries our patience") {
  Pair pair;
  Connection connection{std::move(pair.ours), "peer"};
  connection.set_patience(std::chrono::milliseconds{20});
  Recorder task{1};
  const auto done = connection.run(task);
  REQUIRE_FALSE(done);
  CHECK(done.error().text == "peer: no answer");
}

TEST_CASE("the last words of a peer that takes no more are still heard") {
  Pair pair;
  Connection connection{std::move(pair.ours), "peer"};
  pair.say(frame(R"({"ok":false,"error":"no_space","data_size":0})"));
  pair.theirs.reset();
  Recorder task{1};
  task.stop_at_end = true;
  CHECK(connection.run(task));
  CHECK(task.log == "E;");
}

TEST_CASE("a file that became shorter fails when the requests before it are answered") {
  Pair pair;
  char name[] = "/tmp/ftpc-test-XXXXXX";
  UniqueFd file{::mkstemp(name)};
  REQUIRE(file);
  ::unlink(name);
  Connection connection{std::move(pair.ours), "peer"};
  connection.request(R"({"cmd":"ping"})");
  connection.body(std::move(file), 10);
  connection.request(R"({"cmd":"put","filename":"x","data_size":10})");
  pair.say(frame(R"({"ok":true,"data_size":0})"));
  Recorder task{0};
  const auto done = connection.run(task);
  REQUIRE_FALSE(done);
  CHECK(done.error().who == Failure::Who::local);
  CHECK(connection.file_was_short());
  CHECK(task.log == "H;");
}

TEST_CASE("a refusal is told with errno, need and free, and made printable") {
  HeaderParser parser;
  const auto refusal = Refusal::from(parse(parser, R"({"ok":false,"error":"no_space","message":"fu\u001bll",)"
                                                   R"("errno":"ENOSPC","need":10,"free":3,"data_size":0})"));
  REQUIRE(refusal);
  REQUIRE(*refusal);
  CHECK((*refusal)->text() == "no_space: fu?ll (ENOSPC, need 10, free 3)");
  CHECK_FALSE(*Refusal::from(parse(parser, R"({"ok":true})")));
  CHECK_FALSE(Refusal::from(parse(parser, R"({"hello":1})")));
}

TEST_CASE("the exit status of a command") {
  HeaderParser parser;
  const auto status = [&parser](std::string_view text) { return exec_status(parse(parser, text)); };
  CHECK(status(R"({"ok":true,"reason":"exited","exit":7})") == 7);
  CHECK(status(R"({"ok":true,"reason":"signalled","signal":"SIGSEGV"})") == 139);
  CHECK(status(R"({"ok":true,"reason":"out_of_memory"})") == 137);
  CHECK_FALSE(status(R"({"ok":true,"reason":"exited"})"));
  CHECK_FALSE(status(R"({"ok":true,"reason":"exited","exit":256})"));
  CHECK_FALSE(status(R"({"ok":true})"));
}

TEST_CASE("a line of a listing") {
  HeaderParser parser;
  const auto entry = parse_entry(parser, R"({"name":"a","type":"file","filesize":3,"mtime":1.5,"mode":420})");
  REQUIRE(entry);
  CHECK(entry->name == "a");
  CHECK(entry->mode == 0644);
  const auto coded = parse_entry(parser, R"({"name_base64":"/w==","type":"file","filesize":3})");
  REQUIRE(coded);
  CHECK(coded->name == "\xff");
  for (const char* wrong : {"", "x", "{}", R"({"name":"a"})", R"({"type":"file"})",
                            R"({"name":1,"type":"file"})", R"({"name_base64":"?","type":"file"})"}) {
    CHECK_MESSAGE(!parse_entry(parser, wrong), wrong);
  }
}
