// get with `follow`, where the system does not help: no events, files that can't be read, a stop.
#include <fcntl.h>

#include "server_support.h"

using namespace ftpd;
using namespace ftpd::test;

namespace {

void append(const std::string& path, std::string_view text) {
  std::ofstream(path, std::ios::binary | std::ios::app) << text;
}

/// A client that follows "f" and has read its first frame.
struct Follower {
  explicit Follower(WholeServer& server) : client(server.address()) {
    const Reply first = client.ask(R"({"cmd":"get","filename":"f","follow":true,"id":1})");
    REQUIRE(first.ok());
    REQUIRE(first.has("\"more\":true"));
    CHECK(first.body == read_file(server.at("f")));
  }
  Client client;
};

}  // namespace

TEST_CASE("without events growth, truncation and removal are found by looking") {
  WholeServer server;
  write_file(server.at("f"), "one\n");
  for (const std::string_view call : {"inotify_init1", "inotify_add_watch"}) {
    CAPTURE(call);
    write_file(server.at("f"), "one\n");
    const Faults none({.call = call, .nth = 0, .number = ENOSPC});
    Follower follower(server);
    CHECK(Faults::fired() == call);
    append(server.at("f"), "two\n");
    const Reply grown = follower.client.read_reply();
    CHECK(grown.header == R"({"ok":true,"id":1,"more":true,"data_size":4})");
    CHECK(grown.body == "two\n");
    write_file(server.at("f"), "new\n");
    const Reply again = follower.client.read_reply();
    CHECK(again.header == R"({"ok":true,"id":1,"truncated":true,"more":true,"data_size":4})");
    CHECK(again.body == "new\n");
    std::filesystem::remove(server.at("f"));
    CHECK(follower.client.read_reply().header == R"({"ok":true,"id":1,"data_size":0})");
    CHECK(follower.client.ask(R"({"cmd":"ping"})").ok());
  }
}

TEST_CASE("a file that can't be read any more ends the reply with the system's error") {
  WholeServer server;
  write_file(server.at("f"), "one\n");
  for (const std::string_view call : {"pread", "fstat"}) {
    CAPTURE(call);
    Follower follower(server);
    const Faults none({.call = call, .nth = 0, .number = EIO});
    append(server.at("f"), "two\n");
    const Reply last = follower.client.read_reply();
    CHECK(last.failed("io_error"));
    CHECK(last.has("\"errno\":\"EIO\""));
    CHECK(last.has("\"id\":1"));
    CHECK_FALSE(last.has("\"more\""));
    CHECK(follower.client.ask(R"({"cmd":"ping"})").ok());
  }
}

TEST_CASE("where the system can't say what the name leads to, the file is followed on") {
  WholeServer server;
  write_file(server.at("f"), "one\n");
  Follower follower(server);
  {
    const Faults none({.call = "openat2", .nth = 0, .number = EMFILE});
    REQUIRE(eventually([] { return Faults::fired() == "openat2"; }));
    append(server.at("f"), "two\n");
    CHECK(follower.client.read_reply().body == "two\n");
  }
  append(server.at("f"), "three\n");
  CHECK(follower.client.read_reply().body == "three\n");
  write_file(server.at("other"), "other\n");
  std::filesystem::rename(server.at("other"), server.at("f"));
  CHECK(follower.client.read_reply().header == R"({"ok":true,"id":1,"data_size":0})");
}

TEST_CASE("a stop that can't wait answers who waits for the file to be opened, and ends who follows") {
  WholeServer server;
  write_file(server.at("f"), "one\n");
  Follower follower(server);
  Client late(server.address());
  {
    const Faults slow({.call = "openat2", .nth = 0, .delay = std::chrono::milliseconds{500}});
    late.send(frame(R"({"cmd":"get","filename":"f","follow":true,"id":2})"));
    REQUIRE(eventually([] { return Faults::fired() == "openat2"; }));
    server.server().shut_down();
    CHECK(follower.client.read_reply().header == R"({"ok":true,"id":1,"data_size":0})");
    CHECK(late.read_reply().failed("shutting_down"));
  }
  CHECK(follower.client.read_all().empty());
  CHECK(late.read_all().empty());
}
