// The command line of ftpc.
#include <doctest/doctest.h>

#include "client/options.h"
#include "client/outcome.h"

using namespace ftpd::client;

namespace {

Options parsed(std::vector<std::string> arguments, const char* address = nullptr) {
  auto options = parse_options(std::move(arguments), address);
  REQUIRE_MESSAGE(options.has_value(), (options ? "" : options.error().text));
  return *options;
}

void refused(std::vector<std::string> arguments, std::string_view part) {
  const auto options = parse_options(std::move(arguments), nullptr);
  REQUIRE_FALSE(options.has_value());
  CHECK(options.error().status == exit_usage);
  CHECK_MESSAGE(options.error().text.find(part) != std::string::npos, options.error().text);
  CHECK(options.error().text.starts_with("ftpc: "));
}

using Words = std::vector<std::string>;

}  // namespace

TEST_CASE("the address is -a, else the environment's, else loopback") {
  CHECK(parsed({"ping"}).address == "127.0.0.1:8080");
  CHECK(parsed({"ping"}, "").address == "127.0.0.1:8080");
  CHECK(parsed({"ping"}, ":9").address == ":9");
  CHECK(parsed({"-a", "[::1]:5", "ping"}, ":9").address == "[::1]:5");
}

TEST_CASE("global options may stand before and behind the verb") {
  CHECK(parsed({"--json", "-q", "put", "a"}).form == Form::json);
  const Options options = parsed({"put", "a", "--json", "-q", "--progress", "never"});
  CHECK(options.form == Form::json);
  CHECK(options.talk == Talk::quiet);
  CHECK(options.progress == ShowProgress::never);
}

TEST_CASE("file names that look like lists, marks or verbs stay what they are") {
  CHECK(parsed({"put", "[a,b]", "{}", "%%", "get", "[c"}).operands ==
        Words{"[a,b]", "{}", "%%", "get", "[c"});
  CHECK(parsed({"put", "{}"}).operands == Words{"{}"});
  CHECK(parsed({"put", "--to", "[x]", "-"}).to == "[x]");
  CHECK(parsed({"put", "--", "-r", "[x]"}).operands == Words{"-r", "[x]"});
}

TEST_CASE("a command's words are passed on untouched") {
  CHECK(parsed({"exec", "--", "sh", "-c", "[x]", "--", "put", "{}", ""}).operands ==
        Words{"sh", "-c", "[x]", "--", "put", "{}", ""});
  CHECK(parsed({"exec", "ls", "--", "-l"}).operands == Words{"ls", "--", "-l"});
  CHECK(parsed({"exec", "-s", "[ -e x ]"}).shell_line == "[ -e x ]");
}

TEST_CASE("exec's options") {
  const Options options = parsed(
      {"exec", "--env", "A=b=c", "--env", "B=[x]", "--cwd", "d", "--timeout", "1.5s", "-n", "--", "id"});
  CHECK(options.environment == std::vector<std::pair<std::string, std::string>>{{"A", "b=c"}, {"B", "[x]"}});
  CHECK(options.cwd == "d");
  CHECK(options.timeout == std::chrono::milliseconds{1500});
  CHECK(options.standard_input == StandardInput::none);
}

TEST_CASE("what makes no sense is a usage error that says why") {
  refused({}, "which verb");
  refused({"frob", "x"}, "'frob'");
  refused({"put"}, "LOCAL is missing");
  refused({"put", "-"}, "--to");
  refused({"put", "a", "--to", ""}, "--to");
  refused({"get", "a", "b", "c"}, "'c'");
  refused({"get"}, "REMOTE");
  refused({"ping", "x"}, "x");
  refused({"ping", "-c", "0"}, "-c");
  refused({"ping", "-c", "many"}, "-c");
  refused({"exec"}, "which command");
  refused({"exec", "-s", "id", "--", "id"}, "not both");
  refused({"exec", "--env", "=x", "--", "id"}, "--env");
  refused({"exec", "--timeout", "0", "--", "id"}, "--timeout");
  refused({"--bogus", "ping"}, "--bogus");
  refused({"--progress", "maybe", "ping"}, "--progress");
  refused({"--dialect", "old", "put", "a"}, "--dialect");
  refused({"--dialect", "silent", "get", "a"}, "put");
  refused({"--dialect", "json", "put", "a"}, "exec");
  refused({"--dialect", "json", "exec", "--cwd", "x", "--", "id"}, "--cwd");
}

TEST_CASE("the options of transfers") {
  const Options plain = parsed({"put", "a"});
  CHECK(plain.verify == Verify::by_digest);
  CHECK(plain.begin == Begin::anew);
  CHECK(parsed({"put", "--no-verify", "-r", "a", "b"}).verify == Verify::none);
  CHECK(parsed({"put", "--resume", "a", "b"}).begin == Begin::resume);
  CHECK(parsed({"get", "--resume", "a"}).begin == Begin::resume);
  CHECK(parsed({"get", "--follow", "a"}).growth == Growth::followed);
  CHECK(parsed({"get", "--follow", "a", "-"}).growth == Growth::followed);
}

TEST_CASE("options of transfers that do not go together") {
  refused({"put", "--resume", "-r", "x"}, "-r");
  refused({"get", "--resume", "-r", "x"}, "-r");
  refused({"put", "--resume", "--no-verify", "x"}, "--no-verify");
  refused({"put", "--resume", "--to", "x", "-"}, "\"-\"");
  refused({"get", "--resume", "x", "-"}, "\"-\"");
  refused({"get", "-r", "x", "-"}, "standard output");
  refused({"get", "--follow", "x", "local"}, "standard output");
  refused({"get", "--follow", "--json", "x"}, "--json");
  refused({"get", "--follow", "-r", "x"}, "-r");
  refused({"get", "--follow", "--resume", "x"}, "--resume");
  refused({"put", "--follow", "x"}, "--follow");
  refused({"--dialect", "silent", "put", "--resume", "x"}, "--resume");
}

TEST_CASE("the verbs that act on names") {
  CHECK(parsed({"sum", "a"}).digest == DigestKind::sha256);
  CHECK(parsed({"sum", "--sha256", "a"}).digest == DigestKind::sha256);
  CHECK(parsed({"sum", "--md5", "a", "b"}).digest == DigestKind::md5);
  CHECK(parsed({"rm", "-r", "a", "b"}).depth == Depth::recursive);
  CHECK(parsed({"mv", "a", "b"}).existing == Existing::replaced);
  CHECK(parsed({"mv", "-n", "a", "b"}).existing == Existing::kept);
  CHECK(parsed({"mkdir", "-p", "a"}).parents == Parents::made);
  CHECK(parsed({"rmdir", "a"}).verb == Verb::rmdir);
  CHECK(parsed({"df"}).verb == Verb::df);
  refused({"sum", "--md5", "--sha256", "a"}, "not both");
  refused({"sum"}, "PATH");
  refused({"rm"}, "PATH");
  refused({"mv"}, "FROM TO is missing");
  refused({"mv", "a"}, ": TO is missing");
  refused({"mv", "a", "b", "c"}, "'c'");
  refused({"mkdir"}, "PATH");
  refused({"df", "x"}, "x");
}

TEST_CASE("verbs and options that this version has not are usage errors") {
  refused({"shell"}, "shell");
  refused({"--tls", "ping"}, "--tls");
}

TEST_CASE("help and version end with status 0") {
  for (const Words& arguments : {Words{"--help"}, Words{"put", "--help"}, Words{"--version"}}) {
    const auto options = parse_options(arguments, nullptr);
    REQUIRE_FALSE(options.has_value());
    CHECK(options.error().status == exit_done);
    CHECK_FALSE(options.error().text.empty());
  }
}

TEST_CASE("each kind of failure has its exit status") {
  CHECK(Failure{Failure::Who::server, ""}.exit_status() == 1);
  CHECK(Failure{Failure::Who::local, ""}.exit_status() == 1);
  CHECK(Failure{Failure::Who::usage, ""}.exit_status() == 2);
  CHECK(Failure{Failure::Who::connection, ""}.exit_status() == 255);
}
