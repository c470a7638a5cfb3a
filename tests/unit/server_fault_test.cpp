// The Nth system call of a request fails: one reply or a closed connection, nothing partial, nothing lost.
#include <doctest/doctest.h>

#include <cerrno>
#include <set>

#include "server_support.h"

using namespace ftpd;
using namespace ftpd::test;

namespace {

constexpr std::string_view ping = R"({"cmd":"ping"})";

struct Scenario {
  const char* what;
  std::string header;
  std::string body{};
};

const std::string small_body(1000, 's');
const std::string large_body(200'000, 'l');
const std::string old_content = "what was there before";

std::vector<Scenario> scenarios() {
  return {
      {"put small", R"({"cmd":"put","filename":"new","data_size":1000})", small_body},
      {"put large", R"({"cmd":"put","filename":"new","data_size":200000})", large_body},
      {"put with parents", R"({"cmd":"put","filename":"d/e/new","parents":true,"data_size":1000})",
       small_body},
      {"put over", R"({"cmd":"put","filename":"old","mtime":1.5,"mode":384,"data_size":200000})", large_body},
      {"get", R"({"cmd":"get","filename":"large"})"},
      {"ls", R"({"cmd":"ls","filename":".","recursive":true})"},
      {"stat", R"({"cmd":"stat","filename":"large"})"},
      {"exec", R"({"cmd":"exec","argv":["cat"],"data_size":1000})", small_body},
      {"exec with much output", R"({"cmd":"exec","command":"head -c 2000000 /dev/zero"})"},
  };
}

void reset_files(const WholeServer& server) {
  std::error_code ignored;
  std::filesystem::remove(server.at("new"), ignored);
  std::filesystem::remove_all(server.at("d"), ignored);
  write_file(server.at("old"), old_content);
}

/// Each name holds all of one version, or is not there.
void check_files(const WholeServer& server, const Scenario& scenario, const Reply& reply) {
  const std::string old = read_file(server.at("old"));
  const bool old_is_whole = old == old_content || old == large_body;
  CHECK(old_is_whole);
  for (const char* const name : {"new", "d/e/new"}) {
    if (std::filesystem::exists(server.at(name))) CHECK(read_file(server.at(name)) == scenario.body);
  }
  if (!reply.ok()) return;
  const std::string_view what = scenario.what;
  if (what == "put small" || what == "put large") CHECK(read_file(server.at("new")) == scenario.body);
  if (what == "put with parents") CHECK(read_file(server.at("d/e/new")) == scenario.body);
  if (what == "put over") CHECK(old == large_body);
  if (what == "get") CHECK(reply.body == large_body);
  if (what == "exec" && reply.has("\"exit\":0")) CHECK(reply.body.size() <= scenario.body.size());
}

/// One request with one fault. False where the fault was never met.
bool run(WholeServer& server, const Scenario& scenario, const Fault& fault) {
  reset_files(server);
  Client client(server.address());
  REQUIRE(client.ask(ping).ok());
  std::string fired;
  Reply reply;
  {
    const Faults faults(fault);
    reply = client.ask(scenario.header, scenario.body);
    fired = Faults::fired();
  }
  CAPTURE(fired);
  CHECK(reply.how != Reply::How::silent);
  if (reply.how == Reply::How::whole) {
    const Reply next = client.ask(ping);
    const bool goes_on_or_ends = next.ok() || next.how == Reply::How::ended;
    CHECK(goes_on_or_ends);
  }
  check_files(server, scenario, reply);
  client.close();
  CHECK(Client(server.address()).ask(ping).ok());
  // What could not be removed stays until the next start.
  if (fired != "unlinkat" && !eventually([&] { return server.staged_files() == 0; })) {
    FAIL_CHECK("a staged file is left");
  }
  return !fired.empty();
}

}  // namespace

TEST_CASE("whichever system call of a request fails, the client is told or cut off, and nothing is lost") {
  WholeServer server;
  write_file(server.at("large"), large_body);
  for (const Scenario& scenario : scenarios()) {
    CAPTURE(scenario.what);
    CHECK_FALSE(run(server, scenario, {.nth = 100'000, .number = EIO}));  // and fills the lenders
    CHECK(server.becomes_quiet());
    const std::size_t before = open_descriptors();
    for (const int number : {EIO, ENOSPC, EMFILE}) {
      CAPTURE(number);
      for (unsigned nth = 1; nth < 200; ++nth) {
        CAPTURE(nth);
        if (!run(server, scenario, {.nth = nth, .number = number})) break;
        REQUIRE(nth < 199);
      }
    }
    CHECK(server.becomes_quiet());
    CHECK(eventually([&] { return open_descriptors() <= before; }));
  }
}

TEST_CASE("a call that fails each time is told each time, and is fine again afterwards") {
  WholeServer server;
  write_file(server.at("large"), large_body);
  const auto each = scenarios();
  struct Row {
    const char* call;
    int number;
    std::size_t scenario;
    const char* status;
  };
  const Row rows[] = {
      {"openat2", EMFILE, 0, "busy"},
      {"openat2", EACCES, 4, "denied"},
      {"write", ENOSPC, 0, "no_space"},
      {"fsync", EIO, 0, "io_error"},
      {"renameat2", EIO, 0, "io_error"},
      {"fallocate", ENOSPC, 1, "no_space"},
      {"fallocate", EDQUOT, 1, "quota_exceeded"},
      {"getdents64", EIO, 5, "io_error"},
      {"pipe2", EMFILE, 7, "busy"},
      {"posix_spawnp", EAGAIN, 7, "busy"},
      {"posix_spawnp", EACCES, 7, "denied"},
      {"pidfd_open", EMFILE, 7, "busy"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.call);
    const Scenario& scenario = each[row.scenario];
    CAPTURE(scenario.what);
    reset_files(server);
    Client client(server.address());
    REQUIRE(client.ask(ping).ok());
    // A write is also what wakes a loop: its first one alone is the file's.
    const unsigned nth = std::string_view{row.call} == "write" ? 1 : 0;
    for (int i = 0; i < 3; ++i) {
      const Faults faults({.call = row.call, .nth = nth, .number = row.number});
      const Reply reply = client.ask(scenario.header, scenario.body);
      CHECK_MESSAGE(reply.failed(row.status), reply.header);
    }
    check_files(server, scenario, {});
    CHECK(client.ask(scenario.header, scenario.body).ok());
  }
  CHECK(server.staged_files() == 0);
}

TEST_CASE("a full disk is told with what is needed and what is free, before the body is sent") {
  WholeServer server;
  Client client(server.address());
  const Faults faults({.call = "fallocate", .nth = 0, .number = ENOSPC});
  client.send(frame(R"({"cmd":"put","filename":"a","data_size":1000000})"));
  const Reply reply = client.read_reply();
  CHECK(reply.failed("no_space"));
  CHECK(reply.has("\"need\":1000000,\"free\":"));
  CHECK(reply.has("\"errno\":\"ENOSPC\""));
  client.send(std::string(1'000'000, 'x'));
  CHECK(client.ask(ping).ok());
}

TEST_CASE("without a pipe an upload goes through memory") {
  WholeServer server;
  Client client(server.address());
  const Faults faults({.call = "pipe2", .nth = 0, .number = EMFILE});
  CHECK(client.ask(R"({"cmd":"put","filename":"a","data_size":200000})", large_body).ok());
  CHECK(read_file(server.at("a")) == large_body);
}

TEST_CASE("a file that can't be read while it is sent ends the connection, never the client's patience") {
  WholeServer server;
  write_file(server.at("large"), large_body);
  for (const char* const call : {"sendfile", "sendmsg"}) {
    CAPTURE(call);
    Client client(server.address());
    REQUIRE(client.ask(ping).ok());
    {
      const Faults faults({.call = call, .nth = 1, .number = EIO});
      CHECK(client.ask(R"({"cmd":"get","filename":"large"})").how == Reply::How::ended);
    }
    CHECK(server.becomes_quiet());
  }
}

TEST_CASE("a connection that can't be set up is closed, and the next one is served") {
  WholeServer server;
  CHECK(Client(server.address()).ask(ping).ok());
  CHECK(server.becomes_quiet());
  const std::size_t before = open_descriptors();
  for (const char* const call : {"epoll_ctl", "setsockopt", "getsockopt", "recv", "sendmsg"}) {
    CAPTURE(call);
    {
      const Faults faults({.call = call, .nth = 1, .number = ENOMEM});
      Client client(server.address());
      CHECK(client.ask(ping).how != Reply::How::silent);
    }
    CHECK(Client(server.address()).ask(ping).ok());
  }
  CHECK(server.becomes_quiet());
  CHECK(eventually([&] { return open_descriptors() <= before; }));
}

TEST_CASE("without descriptors accepting pauses, and goes on when a connection has left one") {
  WholeServer server;
  auto leaving = std::make_unique<Client>(server.address());
  CHECK(leaving->ask(ping).ok());
  const Faults faults({.call = "accept4", .nth = 1, .number = EMFILE});
  Client waiting(server.address());
  waiting.send(frame(ping));
  CHECK(eventually([] { return !Faults::fired().empty(); }));
  leaving.reset();
  CHECK(waiting.read_reply().ok());
}

TEST_CASE("without descriptors for a moment accepting goes on by itself") {
  WholeServer server;
  const Faults faults({.call = "accept4", .nth = 1, .number = ENFILE});
  CHECK(Client(server.address()).ask(ping).ok());
}

TEST_CASE("a connection that died in the queue does not keep the others waiting") {
  WholeServer server;
  const Faults faults({.call = "accept4", .nth = 1, .number = ECONNABORTED});
  CHECK(Client(server.address()).ask(ping).ok());
}
