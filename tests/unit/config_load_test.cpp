// From TOML to settings, and every error in one go.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <chrono>
#include <string>

#include "config/load.h"

namespace ftpd {
namespace {

using namespace std::chrono_literals;

Settings parsed(std::string_view toml) {
  const auto loaded = parse_settings(toml, "ftpd.toml");
  if (!loaded) FAIL(loaded.error().front().message());
  return loaded->settings;
}

/// The messages, one a line; "" where all is well.
std::string errors(std::string_view toml) {
  const auto loaded = parse_settings(toml, "ftpd.toml");
  std::string out;
  if (loaded) return out;
  for (const Problem& problem : loaded.error()) out += problem.message() + "\n";
  return out;
}

TEST_CASE("an empty file gives the defaults") {
  CHECK(parsed("") == Settings{});
  CHECK(parsed("# nothing but a comment\n") == Settings{});
  CHECK(parsed("[server]\n[role]\n[role.local]\n") == Settings{});
}

TEST_CASE("every key of [server] is read") {
  const ServerSettings server = parsed(R"(
[server]
workers = 3
max_connections = 7
max_connections_per_ip = 5
max_header = "4KiB"
idle_timeout = "1m"
stall_timeout = "2s"
drain_timeout = "0"
discard_limit = 10
reply_queue = "8MiB"
text_idle = "1ms"
log = "debug"
)")
                                    .server;
  CHECK(server == ServerSettings{.workers = 3,
                                 .max_connections = 7,
                                 .max_connections_per_ip = 5,
                                 .max_header = 4096,
                                 .idle_timeout = 1min,
                                 .stall_timeout = 2s,
                                 .drain_timeout = 0s,
                                 .discard_limit = 10,
                                 .reply_queue = 8U << 20U,
                                 .text_idle = 1ms,
                                 .log = log::Level::debug});
}

TEST_CASE("listeners of the file replace the default one, in their order") {
  const Settings settings = parsed(R"(
[[listen]]
address = "unix:/run/a.sock"
dialect = "text"
text_reply = "json"
role = ""
local_users = "any"
insecure = true
[[listen]]
address = "[::1]:9"
)");
  REQUIRE(settings.listen.size() == 2);
  CHECK(settings.listen[0] == ListenSettings{.address = "unix:/run/a.sock",
                                             .dialect = DialectChoice::text,
                                             .text_reply = TextReply::json,
                                             .role = "",
                                             .local_users = LocalUsers::any,
                                             .insecure = true});
  CHECK(settings.listen[1] == ListenSettings{.address = "[::1]:9"});
}

TEST_CASE("a role's keys lie over the defaults, and the role local is always there") {
  const Settings settings = parsed(R"(
[role.lab]
root = "/srv/lab"
allow = ["read", "exec", "ping"]
allow_writable_root = true
durability = "none"
max_file = "5MiB"
quota = 1048576
rate = "2MiB"
partial_ttl = "90m"
max_exec = 2
queue_timeout = "1s"
exec_timeout = "1h"
kill_grace = "0"
max_output = 0
env = { LANG = "C", "A.b" = "" }
runner = ["nice", "-n", "10"]
[command.flash]
argv = ["flash", "{1}"]
roles = ["lab"]
)");
  CHECK(settings.commands ==
        std::map<std::string, CommandSettings>{{"flash", {.argv = {"flash", "{1}"}, .roles = {"lab"}}}});
  CHECK(settings.roles.at("local") == RoleSettings{});
  CHECK(settings.roles.at("lab") == RoleSettings{.root = "/srv/lab",
                                                 .allow = {"read", "exec", "ping"},
                                                 .allow_writable_root = true,
                                                 .durable = false,
                                                 .max_file = 5U << 20U,
                                                 .quota = 1U << 20U,
                                                 .rate = 2U << 20U,
                                                 .partial_ttl = 90min,
                                                 .max_exec = 2,
                                                 .queue_timeout = 1s,
                                                 .exec_timeout = 1h,
                                                 .kill_grace = 0s,
                                                 .max_output = 0,
                                                 .env = {{"A.b", ""}, {"LANG", "C"}},
                                                 .runner = {"nice", "-n", "10"}});
  const RoleSettings local = parsed("[role.local]\nroot = \"x\"\n").roles.at("local");
  CHECK(local.root == "x");
  CHECK(local.allow == RoleSettings{}.allow);
}

TEST_CASE("a syntax error is told alone, with its line") {
  const auto loaded = parse_settings("[server]\nworkers = 999\nlog = \n", "ftpd.toml");
  REQUIRE_FALSE(loaded.has_value());
  REQUIRE(loaded.error().size() == 1);
  CHECK(loaded.error()[0].line == 3);
  CHECK(loaded.error()[0].key.empty());
  CHECK(loaded.error()[0].message().starts_with("ftpd.toml:3: "));
  CHECK(errors("a = 1\na = 2\n").starts_with("ftpd.toml:2: "));
  CHECK(errors("a = \"\xff\"\n").starts_with("ftpd.toml:1: "));
}

TEST_CASE("every key and value error comes in one go, in the order of the lines") {
  CHECK(errors(R"([role.local]
root = ""
max_exec = 0
[server]
workers = 257
max_heder = 1
log = "loud"
[[listen]]
dialect = 3
role = "lab"
)") == R"(ftpd.toml:2: role.local.root: is empty, allowed: string, not empty
ftpd.toml:3: role.local.max_exec: 0 is too small, allowed: integer, 1 … 100000
ftpd.toml:5: server.workers: 257 is too large, allowed: integer, 0 … 256
ftpd.toml:6: server.max_heder: unknown key, did you mean "max_header"?
ftpd.toml:7: server.log: "loud" is not known, allowed: "error", "warning", "info" or "debug"
ftpd.toml:9: listen[1].dialect: is an integer, allowed: "frame", "text" or "both"
ftpd.toml:10: listen[1].role: there is no [role.lab], allowed: "local"; or "", who connects must then authenticate
)");
}

TEST_CASE("values of the wrong type say what they are and what is allowed") {
  CHECK(errors("[server]\nworkers = \"3\"\n") ==
        "ftpd.toml:2: server.workers: is a string, allowed: integer, 0 … 256\n");
  CHECK(errors("[server]\nidle_timeout = 30\n") ==
        "ftpd.toml:2: server.idle_timeout: 30 is an integer without a unit, allowed: duration such as "
        "\"30s\", 0 … 365d\n");
  CHECK(errors("[server]\nidle_timeout = \"30\"\n") ==
        "ftpd.toml:2: server.idle_timeout: \"30\" has no unit (units: ms, s, m, h, d), allowed: duration "
        "such as \"30s\", 0 … 365d\n");
  CHECK(errors("[server]\nmax_header = 1.5\n") ==
        "ftpd.toml:2: server.max_header: is a number with a fraction, allowed: size such as 8191 or "
        "\"64MiB\", 64 … 1MiB\n");
  CHECK(errors("[[listen]]\ninsecure = \"yes\"\n") ==
        "ftpd.toml:2: listen[1].insecure: is a string, allowed: boolean\n");
  CHECK(errors("[role.local]\nallow = [\"read\", 1]\n") ==
        "ftpd.toml:2: role.local.allow: element 2 is an integer, allowed: array of strings\n");
  CHECK(errors("[role.local]\nenv = { A = 1 }\n") ==
        "ftpd.toml:2: role.local.env: A is an integer, allowed: table of strings\n");
}

TEST_CASE("each bound holds at, below and above") {
  struct Row {
    const char* table;
    const char* key;
    const char* low;
    const char* below;
    const char* high;
    const char* above;
  };
  for (const Row& row : {
           Row{"server", "workers", "0", "-1", "256", "257"},
           Row{"server", "max_connections", "1", "0", "1000000", "1000001"},
           Row{"server", "max_connections_per_ip", "0", "-1", "1000000", "1000001"},
           Row{"server", "max_header", "64", "63", "8191", "1048577"},
           Row{"server", "discard_limit", "0", "-1", "9007199254740991", "9007199254740992"},
           Row{"server", "reply_queue", "4096", "\"4095\"", "9007199254740991", "\"8192TiB\""},
           Row{"server", "text_idle", "\"1ms\"", "\"0\"", "\"10s\"", "\"10001ms\""},
           Row{"server", "idle_timeout", "\"0\"", "\"-1s\"", "\"365d\"", "\"366d\""},
           Row{"role.local", "max_file", "\"1\"", "-1", "9007199254740991", "9007199254740992"},
           Row{"role.local", "quota", "1", "-1", "\"4TiB\"", "\"8192TiB\""},
           Row{"role.local", "rate", "\"1KiB\"", "1023", "9007199254740991", "9007199254740992"},
           Row{"role.local", "partial_ttl", "\"0\"", "0", "\"365d\"", "\"366d\""},
           Row{"role.local", "max_exec", "1", "0", "100000", "100001"},
           Row{"role.local", "kill_grace", "\"0s\"", "\"\"", "\"60m\"", "\"61m\""},
           Row{"role.local", "max_output", "\"0\"", "-9223372036854775808", "\"4TiB\"",
               "9223372036854775807"},
       }) {
    CAPTURE(row.key);
    const auto file = [&row](const char* value) {
      return fmt::format("[{}]\n{} = {}\n", row.table, row.key, value);
    };
    CHECK(errors(file(row.low)).empty());
    CHECK(errors(file(row.high)).empty());
    CHECK_FALSE(errors(file(row.below)).empty());
    CHECK_FALSE(errors(file(row.above)).empty());
  }
}

TEST_CASE("no limit is said by 0, as a string or as an integer") {
  for (const char* const key : {"max_file", "quota", "rate"}) {
    for (const char* const zero : {"0", "\"0\""}) {
      CAPTURE(key);
      CHECK(parsed(fmt::format("[role.local]\n{} = {}\n", key, zero)) == Settings{});
    }
  }
}

TEST_CASE("a rate that would let nothing through in any useful time is refused, with the least one") {
  CHECK(errors("[role.local]\nrate = 1023\n") ==
        "ftpd.toml:2: role.local.rate: 1023 is too small, allowed: size such as 8191 or \"64MiB\", "
        "0 (no limit) or 1KiB … 9007199254740991\n");
}

TEST_CASE("an unknown key is told with its near miss, its home or the list of keys") {
  CHECK(errors("[role.local]\nmax_outptu = 1\n") ==
        "ftpd.toml:2: role.local.max_outptu: unknown key, did you mean \"max_output\"?\n");
  CHECK(errors("[server]\naddress = \"x\"\n") ==
        "ftpd.toml:2: server.address: unknown key here, it belongs in [[listen]]\n");
  CHECK(errors("max_header = 100\n") ==
        "ftpd.toml:1: max_header: unknown key here, it belongs in [server]\n");
  CHECK(errors("[[listen]]\ncolour = 1\n") ==
        "ftpd.toml:2: listen[1].colour: unknown key, allowed: address, dialect, text_reply, role, "
        "local_users, insecure\n");
  CHECK(errors("[[listen]]\n\"a b\" = 1\n").starts_with("ftpd.toml:2: listen[1].\"a b\": unknown key"));
}

TEST_CASE("an unknown table is told with its near miss or the list of tables") {
  CHECK(errors("[sever]\nworkers = 1\n") == "ftpd.toml:1: sever: unknown table, did you mean \"server\"?\n");
  CHECK(errors("[[listener]]\n") == "ftpd.toml:1: listener: unknown table, did you mean \"listen\"?\n");
  CHECK(errors("[network]\n") ==
        "ftpd.toml:1: network: unknown table, allowed: [server], [[listen]], [role.NAME], [command.NAME]\n");
}

TEST_CASE("a table in the wrong shape is told") {
  CHECK(errors("server = 1\n") == "ftpd.toml:1: server: is an integer, allowed: [server]\n");
  CHECK(errors("[listen]\naddress = \"x\"\n") ==
        "ftpd.toml:1: listen: is a table, allowed: one or more of [[listen]]\n");
  CHECK(errors("listen = []\n") ==
        "ftpd.toml:1: listen: there is none, allowed: one or more of [[listen]]\n");
  CHECK(errors("listen = [1]\n") == "ftpd.toml:1: listen[1]: is an integer, allowed: [[listen]]\n");
  CHECK(errors("[role]\nlocal = 1\n") == "ftpd.toml:2: role.local: is an integer, allowed: [role.NAME]\n");
}

TEST_CASE("a role's name is 1 to 64 letters, digits, underscores or hyphens") {
  CHECK(errors("[role.A-z_09]\n").empty());
  CHECK(errors(fmt::format("[role.{}]\n", std::string(64, 'a'))).empty());
  CHECK_FALSE(errors(fmt::format("[role.{}]\n", std::string(65, 'a'))).empty());
  CHECK_FALSE(errors("[role.\"\"]\n").empty());
  CHECK(errors("[role.\"a b\"]\n") ==
        "ftpd.toml:1: role.\"a b\": is no name of a role, allowed: 1 … 64 of A-Z a-z 0-9 _ -\n");
}

TEST_CASE("a NUL in a string and an impossible name of a variable are refused") {
  CHECK(errors("[role.local]\nroot = \"a\\u0000b\"\n") ==
        "ftpd.toml:2: role.local.root: holds a NUL, allowed: string, not empty\n");
  CHECK_FALSE(errors("[role.local]\nenv = { A = \"\\u0000\" }\n").empty());
  CHECK_FALSE(errors("[role.local]\nenv = { \"\" = \"x\" }\n").empty());
  CHECK_FALSE(errors("[role.local]\nenv = { \"A=B\" = \"x\" }\n").empty());
  CHECK_FALSE(errors("[role.local]\nallow = [\"\"]\n").empty());
}

TEST_CASE("a header beyond 8191 bytes needs listeners that take frames alone") {
  CHECK(errors("[server]\nmax_header = 8192\n") ==
        "ftpd.toml:2: server.max_header: 8192 is too large where a listener takes the text dialect "
        "(listen[1] does), allowed: at most 8191, or dialect = \"frame\" for every listener\n");
  CHECK(errors("[server]\nmax_header = \"1MiB\"\n[[listen]]\ndialect = \"frame\"\n").empty());
  CHECK_FALSE(errors("[server]\nmax_header = 8192\n[[listen]]\ndialect = \"frame\"\n"
                     "[[listen]]\ndialect = \"text\"\n")
                  .empty());
}

TEST_CASE("a later problem points at the key's line, or at its table's") {
  const auto loaded = parse_settings("[[listen]]\naddress = \"x\"\n\n[role.lab]\nroot = \"y\"\n", "f");
  REQUIRE(loaded.has_value());
  CHECK(loaded->problem("listen[1].address", "is wrong").message() == "f:2: listen[1].address: is wrong");
  CHECK(loaded->problem("listen[1].insecure", "is wrong").line == 1);
  CHECK(loaded->problem("role.lab.root[2]", "is wrong").line == 5);
  CHECK(loaded->problem("role.lab.allow", "is wrong").line == 4);
  CHECK(loaded->problem("server.workers", "is wrong").message() == "f: server.workers: is wrong");
}

TEST_CASE("a file that can't be read is one problem without a line") {
  const auto loaded = load_settings("/nonexistent/ftpd.toml");
  REQUIRE_FALSE(loaded.has_value());
  REQUIRE(loaded.error().size() == 1);
  CHECK(loaded.error()[0].message() == "/nonexistent/ftpd.toml: cannot be opened: No such file or directory");
  CHECK(load_settings("/").error()[0].message() == "/: cannot be read: Is a directory");
  CHECK(load_settings("/dev/zero").error()[0].message() == "/dev/zero: is larger than 1MiB");
}

}  // namespace
}  // namespace ftpd
