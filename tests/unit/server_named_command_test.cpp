// Templates of named commands: what they may be, and what the client's arguments become in them.
#include <doctest/doctest.h>

#include "server/named_command.h"

using namespace ftpd;

namespace {

using Strings = std::vector<std::string>;

Strings filled(const Strings& argv, const Strings& arguments) {
  const auto result = fill_template(argv, arguments);
  REQUIRE_MESSAGE(result.has_value(), result.error());
  return *result;
}

std::string refusal(const Strings& argv, const Strings& arguments) {
  const auto result = fill_template(argv, arguments);
  REQUIRE_FALSE(result.has_value());
  return result.error();
}

}  // namespace

TEST_CASE("a template has a program, and its placeholders have no gap") {
  CHECK_FALSE(check_template(Strings{"true"}));
  CHECK_FALSE(check_template(Strings{"flash", "{2}", "{1}"}));
  CHECK_FALSE(check_template(Strings{"flash", "{1}{1}", "a{2}b"}));
  CHECK(check_template(Strings{}));
  CHECK(check_template(Strings{"flash", "{2}"}) == "has no {1}, but a later one");
  CHECK(check_template(Strings{"flash", "{1}", "{3}"}) == "has no {2}, but a later one");
  CHECK(check_template(Strings{"{1}"}));
  CHECK(check_template(Strings{"/bin/{1}"}));
}

TEST_CASE("an argument takes its place whole, wherever that is") {
  CHECK(filled({"p", "{1}"}, {"a b; c"}) == Strings{"p", "a b; c"});
  CHECK(filled({"p", "{2}", "{1}", "{2}"}, {"x", "y"}) == Strings{"p", "y", "x", "y"});
  CHECK(filled({"p", "--image={1}.bin"}, {"x"}) == Strings{"p", "--image=x.bin"});
  CHECK(filled({"p", "{1}{2}"}, {"", "b"}) == Strings{"p", "b"});
  CHECK(filled({"p", "{1}"}, {""}) == Strings{"p", ""});
  CHECK(filled({"p", "{1}"}, {"{2}"}) == Strings{"p", "{2}"});
}

TEST_CASE("what only looks like a placeholder stays as it is") {
  for (const std::string word : {"{", "{}", "{0}", "{10}", "{a}", "{1", "{{x}", "}"}) {
    CAPTURE(word);
    CHECK(filled({"p", word}, {}) == Strings{"p", word});
  }
  CHECK(filled({"p", "{{1}}"}, {"x"}) == Strings{"p", "{x}"});
}

TEST_CASE("there must be as many arguments as places") {
  CHECK(refusal({"p", "{1}"}, {}) == "args: 0 arguments were given, the command takes 1");
  CHECK(refusal({"p"}, {"x"}) == "args: 1 argument was given, the command takes 0");
  CHECK(refusal({"p", "{1}", "{2}"}, {"x", "y", "z"}).ends_with("takes 2"));
  const Strings nine = {"p", "{1}", "{2}", "{3}", "{4}", "{5}", "{6}", "{7}", "{8}", "{9}"};
  CHECK(filled(nine, {"1", "2", "3", "4", "5", "6", "7", "8", "9"}).back() == "9");
}

TEST_CASE("an argument can't become an option unless the template has -- in front of it") {
  CHECK(refusal({"p", "{1}"}, {"-rf"}).find("argument 1") != std::string::npos);
  CHECK(refusal({"p", "{1}", "{2}"}, {"x", "-"}).find("argument 2") != std::string::npos);
  CHECK(refusal({"p", "{1}", "--", "{2}"}, {"-x", "y"}).find("argument 1") != std::string::npos);
  CHECK(filled({"p", "--", "{1}"}, {"-rf"}) == Strings{"p", "--", "-rf"});
  // An argument that is "--" itself ends nothing.
  CHECK(refusal({"p", "{1}", "{2}"}, {"--", "-rf"}).find("argument 1") != std::string::npos);
}
