// A whole server in this process, and clients that behave in every way but the usual one.
#include <doctest/doctest.h>
#include <poll.h>

#include <vector>

#include "server_support.h"

using namespace ftpd;
using namespace ftpd::test;

namespace {

constexpr std::string_view ping = R"({"cmd":"ping"})";

std::string put_header(std::string_view name, std::size_t size, std::string_view more = {}) {
  return R"({"cmd":"put","filename":")" + std::string{name} + R"(","data_size":)" + std::to_string(size) +
         std::string{more} + "}";
}
/// As old clients announce it.
std::string old_put(std::string_view name, std::string_view body) {
  return frame(R"({"cmd":"put","filename":")" + std::string{name} + R"(","filesize":)" +
                   std::to_string(body.size()) + "}",
               body);
}
std::string get_header(std::string_view name) {
  return R"({"cmd":"get","filename":")" + std::string{name} + "\"}";
}

void pause(std::chrono::milliseconds time) { std::this_thread::sleep_for(time); }

/// Nothing has come for this long.
bool silent(const Client& client, int milliseconds) {
  pollfd watched{client.fd(), POLLIN, 0};
  return ::poll(&watched, 1, milliseconds) == 0;
}

}  // namespace

TEST_CASE("what was put is got again, small and large, on disk and in memory") {
  for (const auto files : {WholeServer::Files::on_disk, WholeServer::Files::in_memory}) {
    WholeServer server({}, files);
    Client client(server.address());
    for (const std::size_t size : {0U, 1U, 65536U, 65537U, 3'000'000U}) {
      CAPTURE(size);
      std::string content(size, 'x');
      for (std::size_t i = 0; i < size; i += 97) content[i] = static_cast<char>(i);
      CHECK(client.ask(put_header("a", size), content).ok());
      const Reply got = client.ask(get_header("a"));
      CHECK(got.ok());
      CHECK(got.body == content);
    }
    CHECK(server.staged_files() == 0);
  }
}

TEST_CASE("requests glued together or split at every byte are answered in order") {
  WholeServer server;
  const std::string first = frame(R"({"cmd":"ping","id":1})");
  const std::string both =
      frame(R"({"cmd":"ping","id":1})") + frame(put_header("a", 3, R"(,"id":2)"), "abc") +
      frame(R"({"cmd":"get","filename":"a","id":3})") + frame(R"({"cmd":"ping","id":4})");
  const auto check = [](Client& client) {
    for (int id = 1; id <= 4; ++id) {
      const Reply reply = client.read_reply();
      CHECK(reply.ok());
      CHECK(reply.has("\"id\":" + std::to_string(id)));
      if (id == 3) CHECK(reply.body == "abc");
    }
  };
  Client whole(server.address());
  whole.send(both);
  check(whole);
  for (std::size_t cut = 1; cut < both.size(); cut += 7) {
    Client client(server.address());
    client.send(std::string_view{both}.substr(0, cut));
    if (cut >= first.size()) CHECK_FALSE(silent(client, 5000));
    client.send(std::string_view{both}.substr(cut));
    check(client);
  }
  Client drip(server.address());
  for (const char byte : both) drip.send({&byte, 1});
  check(drip);
}

TEST_CASE("a client that goes away in the middle of an upload leaves nothing") {
  for (const auto files : {WholeServer::Files::on_disk, WholeServer::Files::in_memory}) {
    WholeServer server({}, files);
    const std::string half(200'000, 'h');
    for (int way = 0; way < 4; ++way) {
      CAPTURE(way);
      for (const std::size_t sent : {std::size_t{0}, std::size_t{100}, half.size()}) {
        Client client(server.address());
        client.send(frame(put_header("a", 400'000)) + half.substr(0, sent));
        if (way == 0) client.close();
        if (way == 1) client.reset();
        if (way == 2) {
          client.end_sending();
          CHECK(client.read_all().empty());
        }
        if (way == 3) {  // a frame that is none, in a message that continues
          Client other(server.address());
          other.send(frame(R"({"cmd":"put","filename":"a","data_size":100000,"more":true})",
                           half.substr(0, 100'000)));
          other.send(frame("not json"));
          CHECK(other.read_reply().failed("bad_frame"));
          CHECK(other.read_all().empty());
        }
      }
    }
    CHECK(server.becomes_quiet());
    CHECK(eventually([&] { return server.staged_files() == 0; }));
    CHECK_FALSE(std::filesystem::exists(server.at("a")));
    CHECK(Client(server.address()).ask(ping).ok());
  }
}

TEST_CASE("uploads that arrived whole are stored, though their client has reset the connection") {
  WholeServer server;
  {
    Client client(server.address());
    std::string all;
    for (int i = 0; i < 50; ++i) all += old_put("f" + std::to_string(i), "content");
    client.send(all);
    client.reset();
  }
  CHECK(eventually([&] { return std::filesystem::exists(server.at("f49")); }));
  CHECK(server.becomes_quiet());
  for (int i = 0; i < 50; ++i) CHECK(read_file(server.at("f" + std::to_string(i))) == "content");
}

TEST_CASE("a client that takes what it is sent is no stall, though its next request waits behind it") {
  WholeServer server(
      [](Settings& settings) { settings.server.stall_timeout = std::chrono::milliseconds{300}; });
  write_file(server.at("large"), std::string(8U << 20U, 'l'));
  Client client(server.address());
  client.send(frame(get_header("large")) + frame(ping));
  std::size_t got = 0;
  std::vector<char> piece(256 * 1024);
  const TimePoint slow_until = Clock::now() + std::chrono::milliseconds{700};
  for (;;) {
    const ssize_t count = ::recv(client.fd(), piece.data(), piece.size(), 0);
    if (count <= 0) break;
    got += static_cast<std::size_t>(count);
    if (Clock::now() < slow_until) pause(std::chrono::milliseconds{40});
    if (got > (8U << 20U) && silent(client, 200)) break;
  }
  CHECK(got > (8U << 20U));
  CHECK(client.ask(ping).ok());
}

TEST_CASE("an idle connection has stall_timeout for a header, counted from its first byte") {
  WholeServer server(
      [](Settings& settings) { settings.server.stall_timeout = std::chrono::milliseconds{200}; });
  Client client(server.address());
  const std::string request = frame(ping);
  SUBCASE("of the connection's first request") {}
  SUBCASE("of a later one") { CHECK(client.ask(ping).ok()); }
  pause(std::chrono::milliseconds{300});
  client.send(request.substr(0, 1));
  CHECK(silent(client, 50));
  client.send(request.substr(1));
  CHECK(client.read_reply().ok());
}

TEST_CASE("a header that does not become whole is a stall, told and closed") {
  WholeServer server(
      [](Settings& settings) { settings.server.stall_timeout = std::chrono::milliseconds{100}; });
  Client client(server.address());
  client.send(frame(ping).substr(0, 6));
  CHECK(client.read_reply().failed("timeout"));
  CHECK(client.read_all().empty());
}

TEST_CASE("a body that does not go on is a stall, told and closed, and nothing is stored") {
  WholeServer server(
      [](Settings& settings) { settings.server.stall_timeout = std::chrono::milliseconds{100}; });
  for (const std::size_t size : {std::size_t{1000}, std::size_t{1'000'000}}) {
    Client client(server.address());
    client.send(frame(put_header("a", size), std::string(500, 'x')));
    CHECK(client.read_reply().failed("timeout"));
    CHECK(client.read_all().empty());
  }
  CHECK(eventually([&] { return server.staged_files() == 0; }));
  CHECK_FALSE(std::filesystem::exists(server.at("a")));
}

TEST_CASE("an old client that pauses inside its next header is not cut off") {
  WholeServer server;
  Client client(server.address());
  const std::string second = old_put("b", "second");
  client.send(old_put("a", "first") + second.substr(0, 3));
  pause(std::chrono::milliseconds{400});
  client.send(second.substr(3));
  CHECK(client.read_reply().ok());
  CHECK(client.read_reply().ok());
  CHECK(read_file(server.at("b")) == "second");
}

TEST_CASE("an old client's upload is not cut off by a slow disk") {
  WholeServer server;
  Client client(server.address());
  const std::string large(300'000, 'x');
  const Faults slow({.call = "fallocate", .nth = 0, .delay = std::chrono::milliseconds{350}});
  client.send(old_put("a", "first") + old_put("b", large) + old_put("c", large));
  for (int i = 0; i < 3; ++i) CHECK(client.read_reply().ok());
  CHECK(read_file(server.at("c")) == large);
}

TEST_CASE("an old client that waits for each reply gets it") {
  WholeServer server;
  Client client(server.address());
  for (int i = 0; i < 20; ++i) {
    client.send(old_put("a", "content"));
    CHECK(client.read_reply().ok());
  }
}

TEST_CASE("replies that nobody reads stop the reading of requests, not the daemon") {
  WholeServer server([](Settings& settings) {
    settings.server.reply_queue = 4096;
    settings.server.stall_timeout = std::chrono::milliseconds{300};
  });
  Client client(server.address());
  client.set_patience(std::chrono::milliseconds{100});
  const std::string requests = [] {
    std::string all;
    for (int i = 0; i < 1000; ++i) all += frame(ping);
    return all;
  }();
  for (int i = 0; i < 1000 && client.send(requests); ++i) {
  }
  CHECK(server.stat("requests") < 1'000'000);
  CHECK(Client(server.address()).ask(ping).ok());
  CHECK(server.becomes_quiet());  // nobody takes the replies: a stall
}

TEST_CASE("over max_connections a client is told so and closed, and later ones are served") {
  WholeServer server([](Settings& settings) { settings.server.max_connections = 2; });
  auto one = std::make_unique<Client>(server.address());
  Client two(server.address());
  CHECK(one->ask(ping).ok());
  CHECK(two.ask(ping).ok());
  Client three(server.address());
  CHECK(three.read_reply().failed("busy"));
  CHECK(three.read_all().empty());
  three.close();
  one.reset();
  CHECK(eventually([&] { return server.stat("connections_open") == 1; }));
  CHECK(Client(server.address()).ask(ping).ok());
}

TEST_CASE("a command's output and end are one reply, streams apart or merged, small or large") {
  WholeServer server;
  Client client(server.address());
  const Reply small = client.ask(R"({"cmd":"exec","command":"echo out; echo err >&2; exit 3"})");
  CHECK(small.ok());
  CHECK(small.has("\"exit\":3"));
  CHECK(small.body == "out\nerr\n");
  const Reply large = client.ask(R"({"cmd":"exec","command":"head -c 3000000 /dev/zero"})");
  CHECK(large.ok());
  CHECK(large.body == std::string(3'000'000, '\0'));
  const Reply fed =
      client.ask(R"({"cmd":"exec","argv":["cat"],"data_size":200000})", std::string(200'000, 'c'));
  CHECK(fed.body == std::string(200'000, 'c'));
  CHECK(client.ask(R"({"cmd":"exec","argv":["/nonexistent/program"]})").failed("not_found"));
}

TEST_CASE("commands over max_exec wait, and are told busy after queue_timeout") {
  WholeServer server([](Settings& settings) {
    settings.roles["local"].max_exec = 1;
    settings.roles["local"].queue_timeout = std::chrono::milliseconds{100};
  });
  Client holder(server.address());
  holder.send(frame(R"({"cmd":"exec","argv":["cat"],"more":true,"data_size":0})"));
  CHECK(eventually([&] { return server.stat("commands_running") == 1; }));
  Client late(server.address());
  CHECK(late.ask(R"({"cmd":"exec","argv":["true"]})").failed("busy"));
  late.send(frame(R"({"cmd":"exec","argv":["true"]})"));
  holder.send(frame(R"({"data_size":0})"));
  CHECK(holder.read_reply().ok());
  CHECK(late.read_reply().ok());
}

TEST_CASE("a command that outlives its time ends with all it started, even with no grace at all") {
  for (const auto grace : {std::chrono::milliseconds{0}, std::chrono::milliseconds{100}}) {
    CAPTURE(grace.count());
    WholeServer server([grace](Settings& settings) { settings.roles["local"].kill_grace = grace; });
    Client client(server.address());
    const Reply reply = client.ask(
        R"({"cmd":"exec","command":"trap '' TERM; echo on; sleep 100 & wait; wait","timeout_ms":200})");
    CHECK(reply.failed("timeout"));
    CHECK(reply.body == "on\n");
    // Called off while it is on its way to exec: its end is the same.
    Client hasty(server.address());
    hasty.send(
        frame(
            R"({"cmd":"exec","command":"trap '' TERM; while :; do sleep 1; done","more":true,"data_size":0})") +
        frame(R"({"abort":true,"data_size":0})"));
    CHECK(hasty.read_reply().failed("aborted"));
  }
}

TEST_CASE("commands are killed even where the pool has no time to spare") {
  // Whoever asks the pool waits for longer than the next try takes to come.
  struct Hog {
    Offload* pool = nullptr;
    std::atomic<bool> enough{false};
    void run() {
      if (enough) return;
      pause(std::chrono::milliseconds{1200});
      pool->push([this] { run(); });
    }
  } hog;
  WholeServer server(
      [](Settings& settings) { settings.roles["local"].kill_grace = std::chrono::milliseconds{50}; });
  Client client(server.address());
  client.send(
      frame(R"({"cmd":"exec","command":"trap '' TERM; while :; do sleep 0.1; done","timeout_ms":100})"));
  CHECK(eventually([&] { return server.stat("commands_running") == 1; }));
  hog.pool = &server.pool();
  for (int i = 0; i < 2; ++i) hog.pool->push([&hog] { hog.run(); });
  client.set_patience(std::chrono::seconds{6});
  CHECK(client.read_reply().failed("timeout"));
  hog.enough = true;
}

TEST_CASE("a client that resets the connection takes its command along") {
  WholeServer server;
  Client client(server.address());
  client.send(frame(R"({"cmd":"exec","command":"sleep 1000"})"));
  CHECK(eventually([&] { return server.stat("commands_running") == 1; }));
  client.reset();
  CHECK(server.becomes_quiet());
}

TEST_CASE("drained, the server finishes what is under way, refuses the rest, and says so") {
  WholeServer server;
  Client idle(server.address());
  CHECK(idle.ask(ping).ok());
  Client busy(server.address());
  busy.send(frame(R"({"cmd":"exec","command":"sleep 0.2; echo done"})"));
  CHECK(eventually([&] { return server.stat("commands_running") == 1; }));
  bool drained = false;
  server.server().drain([&] { drained = true; });
  CHECK(idle.read_all().empty());
  idle.close();
  busy.send(frame(ping));
  CHECK(busy.read_reply().body == "done\n");
  CHECK(busy.read_reply().failed("shutting_down"));
  CHECK(busy.read_all().empty());
  busy.close();
  const TimePoint until = Clock::now() + std::chrono::seconds(10);
  while (!drained && Clock::now() < until) {
    REQUIRE(server.main_reactor().turn(Clock::now() + std::chrono::milliseconds(10)).has_value());
  }
  CHECK(drained);
}

TEST_CASE("shut down, the server answers what is under way") {
  WholeServer server;
  Client upload(server.address());
  upload.send(frame(put_header("a", 1000), "half"));
  Client command(server.address());
  command.send(frame(R"({"cmd":"exec","command":"echo so far; sleep 100"})"));
  CHECK(eventually([&] { return server.stat("commands_running") == 1 && server.stat("requests") == 2; }));
  server.server().drain({});
  server.server().shut_down();
  CHECK(upload.read_reply().failed("shutting_down"));
  CHECK(command.read_reply().failed("shutting_down"));
  CHECK(upload.read_all().empty());
  CHECK(command.read_all().empty());
}

TEST_CASE("stopped in the middle of everything, the server leaves nothing behind") {
  const std::size_t before = open_descriptors();
  {
    WholeServer server([](Settings& settings) { settings.server.workers = 2; });
    std::vector<std::unique_ptr<Client>> clients;
    for (int i = 0; i < 20; ++i) {
      clients.push_back(std::make_unique<Client>(server.address()));
      Client& client = *clients.back();
      if (i % 4 == 0) client.send(frame(put_header("a", 200'000), std::string(100'000, 'x')));
      if (i % 4 == 1) client.send(frame(R"({"cmd":"exec","command":"sleep 100"})"));
      if (i % 4 == 2) client.send(old_put("b", "content") + old_put("c", std::string(100'000, 'y')));
      if (i % 4 == 3) client.send(frame(R"({"cmd":"ls","filename":".","recursive":true})"));
    }
    CHECK(eventually([&] { return server.stat("requests") >= 20; }));
  }
  CHECK(open_descriptors() == before);
}

TEST_CASE("the text dialect runs its lines one after the other, and the last without an end too") {
  WholeServer server;
  Client client(server.address());
  client.send("echo one\necho two; exit 3\n\necho three");
  client.end_sending();
  CHECK(client.read_all() == "one\ntwo\nthree\n");
  Client bare(server.address());
  bare.send("echo bare");
  std::string answer(5, '\0');
  REQUIRE(::recv(bare.fd(), answer.data(), answer.size(), MSG_WAITALL) == 5);
  CHECK(answer == "bare\n");
}

TEST_CASE("a text client that reads slowly gets all of it, and the daemon keeps little of it") {
  WholeServer server;
  Client client(server.address());
  client.send("head -c 5000000 /dev/zero\n");
  client.end_sending();
  pause(std::chrono::milliseconds{50});
  CHECK(client.read_all() == std::string(5'000'000, '\0'));
}
