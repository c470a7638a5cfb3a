// The effective settings as TOML, and the table's description of itself.
#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>

#include "config/load.h"

namespace ftpd {
namespace {

using namespace std::chrono_literals;

void check_round_trip(const Settings& settings) {
  const std::string text = print_settings(settings);
  CAPTURE(text);
  const auto loaded = parse_settings(text, "printed");
  REQUIRE(loaded.has_value());
  CHECK(loaded->settings == settings);
}

TEST_CASE("printed defaults parse to the defaults") { check_round_trip(Settings{}); }

TEST_CASE("printed settings parse to the same settings") {
  Settings settings;
  settings.server.workers = 256;
  settings.server.max_header = 1U << 20U;
  settings.server.idle_timeout = 0s;
  settings.server.text_idle = 1500ms;
  settings.server.discard_limit = (std::uint64_t{1} << 53U) - 1;
  settings.server.log = log::Level::error;
  settings.listen = {ListenSettings{.address = "unix:/run/a \"b\"\\c.sock", .dialect = DialectChoice::frame},
                     ListenSettings{.address = "[2001:db8::1]:1",
                                    .dialect = DialectChoice::frame,
                                    .text_reply = TextReply::json,
                                    .role = "",
                                    .local_users = LocalUsers::any,
                                    .insecure = true}};
  settings.roles["lab-1"] = RoleSettings{.root = "/srv/\xc3\xbc\t\x7f",
                                         .allow = {},
                                         .allow_writable_root = true,
                                         .durable = false,
                                         .max_file = 1,
                                         .quota = (std::uint64_t{1} << 53U) - 1,
                                         .rate = 1024,
                                         .partial_ttl = 0s,
                                         .max_output = 1,
                                         .env = {{"A B", "x\ny"}, {"PATH", "/bin"}},
                                         .runner = {"nice", "a \"b\""}};
  settings.commands["flash"] = CommandSettings{.argv = {"flash", "{1}"}, .roles = {"lab-1"}};
  check_round_trip(settings);
}

TEST_CASE("each printed key carries its help") {
  const std::string text = print_settings(Settings{});
  CHECK(text.find("workers = 0                       # event loops; 0: one for each CPU\n") !=
        std::string::npos);
  CHECK(text.find("max_header = 8191") != std::string::npos);
  CHECK(text.find("discard_limit = \"64MiB\"") != std::string::npos);
  CHECK(text.find("max_output = \"64MiB\"") != std::string::npos);
  CHECK(text.find("allow = [\"read\", \"write\"]") != std::string::npos);
}

TEST_CASE("no limit and one day are printed as people write them") {
  const std::string text = print_settings(Settings{});
  for (const char* const key : {"max_file", "quota", "rate"}) {
    CAPTURE(key);
    CHECK(text.find("\n" + std::string{key} + " = \"0\" ") != std::string::npos);
  }
  CHECK(text.find("\npartial_ttl = \"24h\" ") != std::string::npos);
}

TEST_CASE("the description has a row for each printed key, with the printed default") {
  Settings settings;
  settings.commands["any"];  // there is none unless the file has one
  const std::string text = print_settings(settings);
  const std::vector<KeyDescription> rows = describe_settings();
  for (const KeyDescription& row : rows) {
    CAPTURE(row.key);
    CHECK(text.find("\n" + row.key + " = " + row.default_value) != std::string::npos);
    CHECK_FALSE(row.type.empty());
    CHECK_FALSE(row.help.empty());
    CHECK(row.help.find('\n') == std::string::npos);
  }
  CHECK(static_cast<std::size_t>(std::ranges::count(text, '=')) >= rows.size());

  const auto workers = std::ranges::find(rows, "workers", &KeyDescription::key);
  REQUIRE(workers != rows.end());
  CHECK(workers->table == "server");
  CHECK(workers->type == "integer");
  CHECK(workers->default_value == "0");
  CHECK(workers->bounds == "0 … 256");
}

}  // namespace
}  // namespace ftpd
