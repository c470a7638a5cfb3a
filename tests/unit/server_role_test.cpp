// Roles: what their words allow, what is too dangerous to start with; who is let in.
#include <doctest/doctest.h>

#include "server/operations.h"
#include "server/role.h"
#include "server_support.h"

using namespace ftpd;
using namespace ftpd::test;

namespace {

Problems problems_of(std::string_view toml) {
  auto draft = draft_settings(toml, "ftpd.toml");
  REQUIRE(draft.has_value());
  REQUIRE(draft->problems.empty());
  Problems problems;
  check_rules(draft->loaded, problems);
  return problems;
}

Allowed allowed(std::vector<std::string> words) {
  Settings settings;
  settings.roles["local"].allow = std::move(words);
  return allowed_by("local", settings);
}

std::string role(std::string_view allow) { return "[role.local]\nallow = [" + std::string{allow} + "]\n"; }
std::string listen(std::string_view address, std::string_view more = {}) {
  return "[[listen]]\naddress = \"" + std::string{address} + "\"\n" + std::string{more} + "\n";
}

/// Never started: for its counting alone.
struct Counting {
  explicit Counting(const std::function<void(ServerSettings&)>& adjust) {
    auto made = Reactor::create();
    REQUIRE(made.has_value());
    reactor = std::move(*made);
    auto descended = Descendants::create(*reactor, pool);
    REQUIRE(descended.has_value());
    descendants = std::move(*descended);
    spawner = std::make_unique<ThreadSpawner>(1, *descendants);
    auto settings = std::make_shared<Settings>();
    adjust(settings->server);
    server = std::make_unique<Server>(
        settings, Roles{}, Server::Shared{.main_reactor = *reactor, .pool = pool, .spawner = *spawner});
  }
  std::unique_ptr<Reactor> reactor;
  Offload pool{1};
  std::unique_ptr<Descendants> descendants;
  std::unique_ptr<ThreadSpawner> spawner;
  std::unique_ptr<Server> server;
};

Address address(std::string_view text) {
  auto parsed = Address::parse(text);
  REQUIRE(parsed.has_value());
  return *parsed;
}

using Admission = Server::Admission;

}  // namespace

// --- words

TEST_CASE("the words of allow are rights, or single commands") {
  const Allowed some = allowed({"read", "put", "shell"});
  CHECK(some.has(Right::read));
  CHECK(some.has(Right::shell));
  CHECK_FALSE(some.has(Right::write));
  CHECK_FALSE(some.has(Right::exec));
  CHECK_FALSE(some.has(Right::remove));
  CHECK_FALSE(some.has(Right::admin));
  CHECK(some.has_command("put"));
  CHECK_FALSE(some.has_command("read"));
  CHECK_FALSE(some.has_command("get"));
  CHECK(allowed({"delete"}).has(Right::remove));
  CHECK(allowed({"admin"}).has(Right::admin));
}

TEST_CASE("nothing in allow allows nothing") {
  const Allowed nothing = allowed({});
  for (const Right right :
       {Right::read, Right::write, Right::remove, Right::exec, Right::shell, Right::admin}) {
    CHECK_FALSE(nothing.has(right));
  }
}

TEST_CASE("a single command is allowed without the right that it belongs to") {
  const Allowed single = allowed({"stat"});
  const Rules rules{.role = "local", .allowed = single};
  const Peer peer;
  CHECK(decide(rules, peer, {"stat", Right::read}).verdict == Decision::Verdict::allowed);
  CHECK(decide(rules, peer, {"get", Right::read}).verdict == Decision::Verdict::denied);
}

TEST_CASE("every right and every command may stand in allow") {
  CHECK(problems_of(role(R"("read", "write", "delete", "exec", "shell", "admin")")).empty());
  for (const OperationRow& row : operations()) {
    CAPTURE(row.name);
    CHECK(problems_of(role('"' + std::string{row.name} + '"')).empty());
  }
}

TEST_CASE("a word that allows nothing is told with its line and what is allowed") {
  const Problems problems = problems_of(role(R"("read", "reed")"));
  REQUIRE(problems.size() == 1);
  CHECK(problems[0].message() ==
        "ftpd.toml:2: role.local.allow: \"reed\" is neither a right nor a command; "
        "allowed are read, write, delete, exec, shell, admin and the names of single commands");
}

TEST_CASE("every wrong word is told, of every role") {
  const Problems problems =
      problems_of(role(R"("a", "b", "Read")") + "[role.other]\nallow = [\"c\"]\nroot = \"x\"\n");
  CHECK(problems.size() == 4);
}

// --- what is dangerous together

TEST_CASE("commands on an address that others can reach are refused, with the ways out") {
  for (const char* const word : {"exec", "shell"}) {
    CAPTURE(word);
    const Problems problems = problems_of(listen("0.0.0.0:8080") + role('"' + std::string{word} + '"'));
    REQUIRE(problems.size() == 1);
    CHECK(problems[0].key == "listen[1].address");
    CHECK(problems[0].line == 2);
    CHECK(problems[0].text.find("role \"local\" may run commands") != std::string::npos);
    CHECK(problems[0].text.find("0.0.0.0:8080") != std::string::npos);
    CHECK(problems[0].text.find("insecure = true") != std::string::npos);
  }
}

TEST_CASE("commands are fine where nobody else can listen, or where it was said") {
  const std::string commands = role(R"("exec", "shell")");
  for (const char* const address :
       {"127.0.0.1:0", "127.3.2.1:80", "[::1]:80", ":80", "localhost:80", "unix:/x"}) {
    CAPTURE(address);
    CHECK(problems_of(listen(address) + commands).empty());
  }
  CHECK(problems_of(listen("0.0.0.0:80", "insecure = true") + commands).empty());
  CHECK(problems_of(listen("192.0.2.1:80", "role = \"\"") + commands).empty());
}

TEST_CASE("files alone may be served to other machines") {
  CHECK(problems_of(listen("0.0.0.0:80") + role(R"("read", "write", "delete", "admin", "put")")).empty());
}

TEST_CASE("each listener is judged by its own role and its own address") {
  const Problems problems =
      problems_of(listen("127.0.0.1:80", "role = \"lab\"") + listen("[2001:db8::1]:80", "role = \"lab\"") +
                  listen("192.0.2.1:80") +
                  "[role.lab]\nroot = \"x\"\nallow = [\"shell\"]\n[role.local]\nallow = [\"read\"]\n");
  REQUIRE(problems.size() == 1);
  CHECK(problems[0].key == "listen[2].address");
}

TEST_CASE("an address that is none is told with its listener") {
  for (const char* const wrong : {"8080", "host.invalid:80", "127.0.0.1:99999", "unix:"}) {
    CAPTURE(wrong);
    const Problems problems = problems_of(listen("127.0.0.1:0") + listen(wrong));
    REQUIRE(problems.size() == 1);
    CHECK(problems[0].key == "listen[2].address");
    CHECK_FALSE(problems[0].text.empty());
  }
}

// --- opening

TEST_CASE("a root that can't be opened is a problem of its role, and all are told") {
  LoadedSettings loaded;
  loaded.settings.roles.clear();
  loaded.settings.roles["one"].root = "/nonexistent/a/b";
  loaded.settings.roles["two"].root = "/dev/null";
  const auto roles = open_roles(loaded);
  REQUIRE_FALSE(roles.has_value());
  REQUIRE(roles.error().size() == 2);
  CHECK(roles.error()[0].key == "role.one.root");
  CHECK(roles.error()[1].key == "role.two.root");
}

TEST_CASE("a role's limits reach its store, and a rate has a pacer each way") {
  std::string base = WholeServer::temporary_directory() + "/ftpd-role-XXXXXX";
  REQUIRE(::mkdtemp(base.data()) != nullptr);
  LoadedSettings loaded;
  loaded.settings.roles["local"].root = base + "/local";
  RoleSettings& limited = loaded.settings.roles["paced"];
  limited.root = base + "/paced";
  limited.durable = false;
  limited.max_file = 11;
  limited.quota = 22;
  limited.rate = 4096;
  limited.partial_ttl = std::chrono::seconds{33};
  {
    const auto roles = open_roles(loaded);
    REQUIRE(roles.has_value());
    const Role& local = *roles->at("local");
    CHECK(local.store->options().max_file == 0);
    CHECK(local.store->options().quota == 0);
    CHECK(local.store->options().partial_ttl == std::chrono::hours{24});
    CHECK(local.receiving == nullptr);
    CHECK(local.sending == nullptr);
    const Role& paced = *roles->at("paced");
    CHECK_FALSE(paced.store->options().durable);
    CHECK(paced.store->options().max_file == 11);
    CHECK(paced.store->options().quota == 22);
    CHECK(paced.store->options().partial_ttl == std::chrono::seconds{33});
    REQUIRE(paced.receiving != nullptr);
    REQUIRE(paced.sending != nullptr);
    CHECK(paced.receiving != paced.sending);
  }
  std::error_code ignored;
  std::filesystem::remove_all(base, ignored);
}

// --- who is let in

TEST_CASE("as many connections are let in as max_connections says") {
  Counting counting([](ServerSettings& settings) { settings.max_connections = 2; });
  Server& server = *counting.server;
  const Address peer = address("192.0.2.1:1");
  CHECK(server.enter(peer) == Admission::welcome);
  CHECK(server.enter(peer) == Admission::welcome);
  CHECK(server.enter(peer) == Admission::too_many);
  CHECK(server.enter(peer) == Admission::too_many);
  server.left(peer);
  CHECK(server.enter(peer) == Admission::welcome);
  CHECK(server.enter(peer) == Admission::too_many);
}

TEST_CASE("the limit for each address counts hosts, not ports, and not Unix sockets") {
  Counting counting([](ServerSettings& settings) { settings.max_connections_per_ip = 1; });
  Server& server = *counting.server;
  CHECK(server.enter(address("192.0.2.1:1")) == Admission::welcome);
  CHECK(server.enter(address("192.0.2.1:2")) == Admission::too_many_from_there);
  CHECK(server.enter(address("192.0.2.2:1")) == Admission::welcome);
  CHECK(server.enter(address("[2001:db8::1]:1")) == Admission::welcome);
  CHECK(server.enter(address("[2001:db8::1]:2")) == Admission::too_many_from_there);
  CHECK(server.enter(address("[::ffff:192.0.2.1]:3")) == Admission::too_many_from_there);
  for (int i = 0; i < 3; ++i) CHECK(server.enter(address("unix:/x")) == Admission::welcome);
  server.left(address("192.0.2.1:1"));
  CHECK(server.enter(address("192.0.2.1:9")) == Admission::welcome);
}

TEST_CASE("whoever is refused for his address does not count for the others") {
  Counting counting([](ServerSettings& settings) {
    settings.max_connections = 2;
    settings.max_connections_per_ip = 1;
  });
  Server& server = *counting.server;
  CHECK(server.enter(address("192.0.2.1:1")) == Admission::welcome);
  for (int i = 0; i < 5; ++i) CHECK(server.enter(address("192.0.2.1:2")) == Admission::too_many_from_there);
  CHECK(server.enter(address("192.0.2.2:1")) == Admission::welcome);
  CHECK(server.enter(address("192.0.2.3:1")) == Admission::too_many);
}

TEST_CASE("loops that let in and out at once lose no count") {
  constexpr unsigned most = 8;
  Counting counting([](ServerSettings& settings) {
    settings.max_connections = most;
    settings.max_connections_per_ip = 5;
  });
  Server& server = *counting.server;
  const auto busy = [&server](const Address& mine) {
    for (int i = 0; i < 3000; ++i) {
      if (server.enter(mine) == Admission::welcome) server.left(mine);
    }
  };
  std::thread first([&] { busy(address("192.0.2.1:1")); });
  std::thread second([&] { busy(address("192.0.2.2:1")); });
  std::thread third([&] { busy(address("192.0.2.1:2")); });
  first.join();
  second.join();
  third.join();
  unsigned entered = 0;
  for (unsigned i = 0; i < most + 1; ++i) {
    const Address one = address("192.0.2." + std::to_string(i + 1) + ":1");
    entered += server.enter(one) == Admission::welcome ? 1 : 0;
  }
  CHECK(entered == most);
}
