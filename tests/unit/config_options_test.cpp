// The command line, and the command line over the file.
#include <doctest/doctest.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <vector>

#include "config/options.h"

namespace ftpd {
namespace {

std::expected<Options, Exit> parse(std::vector<const char*> arguments) {
  arguments.insert(arguments.begin(), "ftpd");
  return parse_options(static_cast<int>(arguments.size()), arguments.data());
}

Options options_of(std::vector<const char*> arguments) {
  const auto options = parse(std::move(arguments));
  if (!options) FAIL(options.error().text);
  return *options;
}

std::string usage_error(std::vector<const char*> arguments) {
  const auto options = parse(std::move(arguments));
  if (options) return "";
  CHECK(options.error().status == 2);
  CHECK(options.error().text.ends_with("\nTry `ftpd --help`.\n"));
  return options.error().text.substr(0, options.error().text.find('\n'));
}

/// A file of settings that lives as long as the test.
class File {
 public:
  explicit File(const std::string& text) {
    const char* const base = std::getenv("TMPDIR");
    directory_ = std::string{base == nullptr ? "/tmp" : base} + "/ftpd-options-XXXXXX";
    REQUIRE(::mkdtemp(directory_.data()) != nullptr);
    std::ofstream{path()} << text;
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  ~File() { std::filesystem::remove_all(directory_); }

  [[nodiscard]] std::string path() const { return directory_ + "/ftpd.toml"; }

 private:
  std::string directory_;
};

TEST_CASE("no arguments: run with the defaults") {
  const Options options = options_of({});
  CHECK(options.action == Options::Action::run);
  CHECK_FALSE(options.config_file.has_value());
  CHECK(options.default_config_file == "/etc/ftpd/ftpd.toml");
  CHECK(options.listen.empty());
  CHECK_FALSE(options.root.has_value());
  CHECK_FALSE(options.commands);
  CHECK_FALSE(options.text_reply.has_value());
  CHECK_FALSE(options.dialect.has_value());
}

TEST_CASE("every option is read") {
  const Options options = options_of({"-c", "a.toml", "-l", "127.0.0.1:0", "-l", ":9", "-r", "/srv", "-e",
                                      "--text-reply", "json", "--dialect=frame", "--check-config"});
  CHECK(options.action == Options::Action::check_config);
  CHECK(options.config_file == "a.toml");
  CHECK(options.listen == std::vector<std::string>{"127.0.0.1:0", ":9"});
  CHECK(options.root == "/srv");
  CHECK(options.commands);
  CHECK(options.text_reply == TextReply::json);
  CHECK(options.dialect == DialectChoice::frame);
  CHECK(options_of({"--print-config"}).action == Options::Action::print_config);
  CHECK(options_of({"-lunix:/a,b"}).listen == std::vector<std::string>{"unix:/a,b"});
}

TEST_CASE("a wrong command line ends with status 2 and says what is wrong") {
  CHECK(usage_error({"--text-reply", "xml"}) ==
        "ftpd: --text-reply: \"xml\" is not known, allowed: \"plain\", \"length\" or \"json\"");
  CHECK(usage_error({"--dialect", "0"}) ==
        "ftpd: --dialect: \"0\" is not known, allowed: \"frame\", \"text\" or \"both\"");
  CHECK(usage_error({"-r", ""}) == "ftpd: --root: an empty value is not allowed");
  for (const std::vector<const char*>& arguments :
       std::vector<std::vector<const char*>>{{"--no-such-option"},
                                             {"stray"},
                                             {"-l"},
                                             {"-l", "a:1", "b:2"},
                                             {"-c"},
                                             {"-c", "a", "-c", "b"},
                                             {"-l", ""},
                                             {"--check-config", "--print-config"},
                                             {"--dialect"},
                                             {"-e=maybe"}}) {
    CAPTURE(arguments[0]);
    CHECK_FALSE(usage_error(arguments).empty());
  }
}

TEST_CASE("--version and --help end with status 0") {
  CHECK(parse({"--version"}).error().status == 0);
  CHECK(parse({"--version"}).error().text == "ftpd " FTPD_VERSION "\n");
  const auto help = parse({"--help"});
  CHECK(help.error().status == 0);
  for (const char* word : {"-c", "-l", "-r", "-e", "--text-reply", "--dialect", "--check-config",
                           "--print-config", "--version", "--help", "Examples:", "Exit status:"}) {
    CAPTURE(word);
    CHECK(help.error().text.find(word) != std::string::npos);
  }
}

TEST_CASE("-l takes the place of all listeners; the two flags go to each") {
  Settings settings;
  settings.listen = {ListenSettings{.address = ":1", .role = "lab"}, ListenSettings{.address = ":2"}};
  Settings flagged = settings;
  apply(options_of({"--dialect", "text", "--text-reply", "length"}), flagged);
  REQUIRE(flagged.listen.size() == 2);
  CHECK(flagged.listen[0] ==
        ListenSettings{
            .address = ":1", .dialect = DialectChoice::text, .text_reply = TextReply::length, .role = "lab"});
  CHECK(flagged.listen[1].dialect == DialectChoice::text);

  apply(options_of({"-l", ":3", "-l", ":4", "--text-reply", "json"}), settings);
  CHECK(settings.listen == std::vector{ListenSettings{.address = ":3", .text_reply = TextReply::json},
                                       ListenSettings{.address = ":4", .text_reply = TextReply::json}});
}

TEST_CASE("-r and -e change the role local and no other") {
  Settings settings;
  settings.roles["lab"] = RoleSettings{};
  apply(options_of({"-r", "/srv", "-e"}), settings);
  CHECK(settings.roles["local"].root == "/srv");
  CHECK(settings.roles["local"].allow == std::vector<std::string>{"read", "write", "exec", "shell"});
  CHECK(settings.roles["lab"] == RoleSettings{});
  apply(options_of({"-e"}), settings);
  CHECK(settings.roles["local"].allow.size() == 4);
}

TEST_CASE("options that say nothing change nothing") {
  Settings settings;
  apply(options_of({}), settings);
  CHECK(settings == Settings{});
}

TEST_CASE("the default file is read where it is there, and is no error where it is not") {
  Options options = options_of({});
  options.default_config_file = "/nonexistent/ftpd.toml";
  CHECK(load_settings(options)->settings == Settings{});
  const File file{"[server]\nworkers = 2\n"};
  options.default_config_file = file.path();
  CHECK(load_settings(options)->settings.server.workers == 2);
  options.config_file = "/nonexistent/other.toml";
  CHECK(load_settings(options).error().size() == 1);
}

TEST_CASE("problems of the file, of the whole and of the caller's check come in one go") {
  const File file{"[server]\nmax_header = 8192\nworkers = -1\n[role.local]\nallow = [\"fly\"]\n"};
  Options options = options_of({});
  options.config_file = file.path();
  const auto check = [](const LoadedSettings& loaded, Problems& problems) {
    problems.push_back(loaded.problem("role.local.allow", "no such right"));
  };
  const auto loaded = load_settings(options, check);
  REQUIRE_FALSE(loaded.has_value());
  REQUIRE(loaded.error().size() == 3);
  CHECK(loaded.error()[0].key == "server.max_header");
  CHECK(loaded.error()[1].key == "server.workers");
  CHECK(loaded.error()[2].line == 5);
  // What the command line changes is what is judged.
  CHECK(
      load_settings(options_of({"-c", options.config_file->c_str(), "--dialect", "frame"})).error().size() ==
      1);
}

TEST_CASE("a problem of what the command line said does not blame the file") {
  const File file{"[[listen]]\naddress = \":1\"\n[role.local]\nroot = \"a\"\n"};
  const std::string path = file.path();
  const auto loaded = load_settings(options_of({"-c", path.c_str(), "-l", "nonsense", "-r", "b"}));
  REQUIRE(loaded.has_value());
  CHECK(loaded->problem("listen[1].address", "is wrong").message() ==
        "command line: listen[1].address: is wrong");
  CHECK(loaded->problem("role.local.root", "is wrong").line == 0);
  CHECK(loaded->problem("role.local.allow", "is wrong").line == 3);
}

}  // namespace
}  // namespace ftpd
