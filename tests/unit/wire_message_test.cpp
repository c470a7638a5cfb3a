// Headers: what is refused whole, what a field may be, and what the framing takes from them.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <initializer_list>
#include <string>

#include "ftpd/json_write.h"
#include "ftpd/message.h"

using namespace ftpd;

namespace {

HeaderParser& parser() {
  static HeaderParser one;
  return one;
}

/// The parser's complaint, "" where it has none; the same with the text padded and not.
std::string problem(std::string_view text) {
  const auto copied = parser().parse(text, false);
  std::string padded{text};
  padded.append(simdjson::SIMDJSON_PADDING, 'x');
  const auto in_place = parser().parse(std::string_view{padded}.substr(0, text.size()), true);
  CHECK(copied.has_value() == in_place.has_value());
  return in_place ? "" : in_place.error();
}

bool accepted(std::string_view text) { return problem(text).empty(); }

Header parsed(std::string_view text) {
  const auto header = parser().parse(text, false);
  REQUIRE_MESSAGE(header.has_value(), text);
  return *header;
}

std::string nested(unsigned depth, std::string_view open, std::string_view close, std::string_view inner) {
  std::string text;
  for (unsigned at = 0; at < depth; ++at) text += open;
  text += inner;
  for (unsigned at = 0; at < depth; ++at) text += close;
  return text;
}

std::expected<FrameInfo, std::string> info(std::string_view text, bool first = true) {
  return frame_info(parsed(text), first);
}

}  // namespace

TEST_CASE("one JSON object and nothing else is a header") {
  CHECK(accepted("{}"));
  CHECK(accepted(" \t\r\n{ \"a\" : 1 } \n"));
  CHECK(accepted(R"({"a":[1,-2,3.5e10,"x",true,false,null,{},[]]})"));
  for (const std::string_view text : {"",
                                      " ",
                                      "{",
                                      "}",
                                      "[]",
                                      "1",
                                      "\"a\"",
                                      "null",
                                      "{} {}",
                                      "{}x",
                                      "{},",
                                      "[{}]",
                                      "{\"a\"}",
                                      "{\"a\":}",
                                      "{,}",
                                      "{\"a\":1,}",
                                      "{'a':1}",
                                      "{a:1}",
                                      "{\"a\":1/**/}",
                                      "{\"a\":tru}",
                                      "{\"a\":truee}",
                                      "{\"a\":nul}",
                                      "{\"a\":NaN}",
                                      "{\"a\":Infinity}",
                                      "{\"a\":+1}",
                                      "{\"a\":01}",
                                      "{\"a\":.5}",
                                      "{\"a\":1.}",
                                      "{\"a\":1e}",
                                      "{\"a\":0x10}",
                                      "{\"a\":-}",
                                      "{\"a\":[1}",
                                      "{\"a\":{]}",
                                      "{\"a\":\"x}",
                                      "{\"a\":\"\\x\"}",
                                      "{\"a\":\"\n\"}",
                                      "\f{}",
                                      "{1:2}",
                                      "{\"a\" 1}",
                                      "{\"a\":1 \"b\":2}",
                                      "\xC2\xA0{}"}) {
    CAPTURE(text);
    CHECK(!accepted(text));
  }
  CHECK(!accepted(std::string_view{"{}\0", 3}));
  CHECK(!accepted(std::string_view{"\0{}", 3}));
  CHECK(!accepted(std::string_view{"{\"a\":\"\0\"}", 9}));
}

TEST_CASE("a byte order mark is refused by name") {
  CHECK(problem("\xEF\xBB\xBF{}") == "the header begins with a byte order mark");
  CHECK(!accepted("{}\xEF\xBB\xBF"));
  CHECK(!accepted(std::string_view{"\xFF\xFE{\0}\0", 6}));
  CHECK(accepted("{\"\xEF\xBB\xBF\":\"\xEF\xBB\xBF\"}"));  // within a string it is a character
}

TEST_CASE("a header is UTF-8") {
  CHECK(accepted("{\"é\":\"€😀\"}"));
  for (const std::string_view bytes : {"\xff", "\x80", "\xC3", "\xC0\x80", "\xE0\x80\x80", "\xED\xA0\x80",
                                       "\xF4\x90\x80\x80", "\xF8\x88\x80\x80\x80"}) {
    CHECK(problem(fmt::format("{{\"a\":\"{}\"}}", bytes)) == "the header is not UTF-8");
    CHECK(!accepted(fmt::format("{{\"{}\":1}}", bytes)));
  }
}

TEST_CASE("escapes are those of JSON, surrogates in pairs") {
  CHECK(**parsed(R"({"a":"\"\\\/\b\f\n\r\t\u0041\ud83d\ude00"})").string("a") == "\"\\/\b\f\n\r\tA😀");
  CHECK((**parsed(R"({"a":"x\u0000y"})").string("a") == std::string_view{"x\0y", 3}));
  for (const std::string_view text : {R"({"a":"\ud800"})", R"({"a":"\udc00"})", R"({"a":"\ud800x"})",
                                      R"({"a":"\ud800\u0041"})", R"({"a":"\u12"})", R"({"a":"\U0041"})"}) {
    CHECK(problem(text) == "a string in the header has a wrong escape");
  }
}

TEST_CASE("a duplicate key is refused at any depth") {
  CHECK(problem(R"({"a":1,"a":1})") == "the key \"a\" is there twice in the header");
  CHECK(!accepted(R"({"a":1,"b":2,"a":{}})"));
  CHECK(!accepted(R"({"x":{"a":1,"a":2}})"));
  CHECK(!accepted(R"({"x":[1,[{"y":{"":0,"":0}}]]})"));
  CHECK(!accepted(R"({"":0,"":0})"));
  CHECK(accepted(R"({"a":{"a":{"a":[{"a":1},{"a":1}]}},"A":1})"));
  CHECK(accepted(R"({"a":1,"\u00e9":2,"e\u0301":2})"));  // they look alike, but the bytes differ
}

TEST_CASE("a duplicate key after unescaping is refused") {
  CHECK(!accepted(R"({"cmd":"ping","\u0063md":"put"})"));
  CHECK(!accepted(R"({"a\/b":1,"a/b":2})"));
  CHECK(!accepted(R"({"\ud83d\ude00":1,"😀":2})"));
  CHECK(!accepted(R"({"a\u0000":1,"a\u0000":2})"));
  CHECK(accepted(R"({"a\u0000b":1,"a\u0000c":2,"a":3})"));  // NUL ends no key
  CHECK(accepted(R"({"\\u0063md":1,"cmd":2})"));
}

TEST_CASE("a duplicate among few keys and among many is found wherever it is") {
  for (const int count : {2, 15, 16, 17, 18, 200, 700}) {
    std::string unique = "{";
    for (int at = 0; at < count; ++at) unique += fmt::format("{}\"k{}\":{}", at == 0 ? "" : ",", at, at);
    CHECK(accepted(unique + "}"));
    for (const int twin : {0, count / 2, count - 1}) {
      CAPTURE(count);
      CAPTURE(twin);
      CHECK(problem(unique + fmt::format(",\"k{}\":0}}", twin)) ==
            fmt::format("the key \"k{}\" is there twice in the header", twin));
    }
  }
}

TEST_CASE("a long key that is there twice is not shown") {
  const std::string key(65, 'k');
  CHECK(problem(fmt::format(R"({{"{0}":1,"{0}":2}})", key)) == "a key is there twice in the header");
}

TEST_CASE("nesting is allowed to 32, the header itself being 1") {
  const std::string too_deep = "the header is nested deeper than 32";
  for (const std::string_view inner : {"1", "\"x\"", ""}) {
    CAPTURE(inner);
    const std::string_view in_object = inner.empty() ? "1" : inner;
    CHECK(accepted("{\"a\":" + nested(30, "[", "]", inner) + "}"));
    CHECK(accepted("{\"a\":" + nested(31, "[", "]", inner) + "}"));
    CHECK(problem("{\"a\":" + nested(32, "[", "]", inner) + "}") == too_deep);
    CHECK(problem("{\"a\":" + nested(33, "[", "]", inner) + "}") == too_deep);
    CHECK(accepted(nested(32, "{\"a\":", "}", in_object)));
    CHECK(problem(nested(33, "{\"a\":", "}", in_object)) == too_deep);
  }
  CHECK(accepted(nested(31, "{\"a\":", "}", "{}")));
  CHECK(problem(nested(32, "{\"a\":", "}", "{}")) == too_deep);
  CHECK(problem("{\"a\":" + nested(4000, "[", "]", "") + "}") == too_deep);
  CHECK(!accepted("{\"a\":" + std::string(8000, '[')));
}

TEST_CASE("depth is the same in a header longer than the usual") {
  HeaderParser fresh;
  const std::string padding(limits::largest_max_header - 200, ' ');
  CHECK(fresh.parse("{\"a\":" + nested(31, "[", "]", "") + padding + "}", false).has_value());
  CHECK(!fresh.parse("{\"a\":" + nested(32, "[", "]", "") + padding + "}", false).has_value());
  CHECK(fresh.parse("{}", false).has_value());
}

TEST_CASE("integers reach from -2^63 to 2^64-1") {
  CHECK(accepted(R"({"a":-9223372036854775808})"));
  CHECK(accepted(R"({"a":18446744073709551615})"));
  for (const std::string_view number :
       {"-9223372036854775809", "18446744073709551616", "-18446744073709551615", "99999999999999999999",
        "100000000000000000000000000000000000000"}) {
    CHECK(problem(fmt::format(R"({{"a":{}}})", number)) ==
          "a number in the header is malformed or out of range");
    CHECK(!accepted(fmt::format(R"({{"a":[{}]}})", number)));
  }
  CHECK(!accepted("{\"a\":1" + std::string(400, '0') + "}"));
}

TEST_CASE("numbers stay within a double") {
  CHECK(accepted(R"({"a":1.7976931348623157e308})"));
  CHECK(accepted(R"({"a":-1.7976931348623157e+308})"));
  CHECK(accepted(R"({"a":1e-400})"));  // rounds to 0, which a double has
  CHECK(accepted(R"({"a":0e999999999999})"));
  for (const std::string_view number : {"1.8e308", "-1.8e308", "1e309", "-1e400", "1e99999999999999999999"}) {
    CHECK(problem(fmt::format(R"({{"a":{}}})", number)) ==
          "a number in the header is malformed or out of range");
  }
}

TEST_CASE("the views of a header outlive the text that it was read from") {
  std::string text = R"({"cmd":"ping"})";
  text.append(simdjson::SIMDJSON_PADDING, ' ');
  const auto header = parser().parse(std::string_view{text}.substr(0, 14), true);
  REQUIRE(header.has_value());
  text.assign(text.size(), '?');
  CHECK(**header->string("cmd") == "ping");
}

TEST_CASE("an absent field is nothing, not an error") {
  const Header header = parsed(R"({"other":1})");
  CHECK(!header.has("a"));
  CHECK(*header.string("a") == std::nullopt);
  CHECK(*header.boolean("a") == std::nullopt);
  CHECK(*header.integer("a", 0, 1) == std::nullopt);
  CHECK(*header.size("a") == std::nullopt);
  CHECK(*header.number("a") == std::nullopt);
  CHECK(!header.strings("a")->has_value());
  CHECK(!header.string_map("a")->has_value());
}

TEST_CASE("a field of the wrong type is an error, null too") {
  const std::string_view values[] = {R"("x")", "true", "1",  "-1",  "1.0",       "18446744073709551615",
                                     "null",   "[]",   "{}", "[1]", R"({"a":1})"};
  for (const std::string_view value : values) {
    CAPTURE(value);
    const Header header = parsed(fmt::format(R"({{"a":{}}})", value));
    CHECK(header.has("a"));
    CHECK(header.string("a").has_value() == value.starts_with('"'));
    CHECK(header.boolean("a").has_value() == (value == "true"));
    CHECK(header.integer("a", INT64_MIN, INT64_MAX).has_value() == (value == "1" || value == "-1"));
    CHECK(header.size("a").has_value() == (value == "1"));
    CHECK(header.number("a").has_value() ==
          (value.find_first_of("0123456789") != value.npos && value[0] != '[' && value[0] != '{'));
    CHECK(header.strings("a").has_value() == (value == "[]"));
    CHECK(header.string_map("a").has_value() == (value == "{}"));
  }
}

TEST_CASE("a field error says what came and what is allowed") {
  CHECK(parsed(R"({"offset":"5"})").size("offset").error().text ==
        "offset: a string, must be an integer from 0 to 9007199254740991");
  CHECK(parsed(R"({"offset":-3})").size("offset").error().text ==
        "offset: -3, must be an integer from 0 to 9007199254740991");
  CHECK(parsed(R"({"mode":512})").integer("mode", 0, 511).error().text ==
        "mode: 512, must be an integer from 0 to 511");
  CHECK(parsed(R"({"a":["x",2]})").strings("a").error().text ==
        "a: an array with 2 in it, must be an array of strings");
  CHECK(parsed(R"({"a":{"x":null}})").string_map("a").error().text ==
        "a: an object with null in it, must be an object of strings");
}

TEST_CASE("integers are taken at their bounds and refused beyond") {
  const auto mode = [](int value) {
    return parsed(fmt::format(R"({{"mode":{}}})", value)).integer("mode", -2, 511).has_value();
  };
  CHECK(!mode(-3));
  CHECK(mode(-2));
  CHECK(mode(511));
  CHECK(!mode(512));
  CHECK(parsed(R"({"a":9007199254740991})").size("a").has_value());
  CHECK(!parsed(R"({"a":9007199254740992})").size("a").has_value());
}

TEST_CASE("lists and maps keep their order") {
  const Header header = parsed(R"({"argv":["b","","a"],"env":{"Z":"1","A":"2"}})");
  CHECK(**header.strings("argv") == std::vector<std::string_view>{"b", "", "a"});
  const auto env = **header.string_map("env");
  REQUIRE(env.size() == 2);
  CHECK(env[0] == std::pair<std::string_view, std::string_view>{"Z", "1"});
  CHECK(env[1] == std::pair<std::string_view, std::string_view>{"A", "2"});
}

TEST_CASE("an id is echoed with its type unchanged") {
  const auto echo = [](std::string_view id) {
    const auto result = RequestId::from(parsed(fmt::format(R"({{"id":{}}})", id)));
    return result ? std::string(result->json()) : std::string("error");
  };
  CHECK(echo("17") == "17");
  CHECK(echo("-9223372036854775808") == "-9223372036854775808");
  CHECK(echo("18446744073709551615") == "18446744073709551615");
  CHECK(echo(R"("17")") == R"("17")");
  CHECK(echo(R"("")") == R"("")");
  CHECK(echo(R"("a\"\u00e9\u0000")") == "\"a\\\"é\\u0000\"");
  CHECK(echo('"' + std::string(64, 'i') + '"').size() == 66);
  CHECK(echo('"' + std::string(65, 'i') + '"') == "error");
  for (const std::string_view wrong : {"1.0", "true", "null", "[]", "{}"}) CHECK(echo(wrong) == "error");
  CHECK(!RequestId::from(parsed("{}"))->present());
  CHECK(RequestId::from(parsed(R"({"id":""})"))->present());
}

TEST_CASE("data_size is the body's size in every frame") {
  CHECK(info(R"({"cmd":"exec","data_size":7})")->body_size == 7);
  CHECK(info(R"({"data_size":7})", false)->body_size == 7);
  CHECK(info(R"({"data_size":9007199254740991})")->body_size == limits::max_size);
  CHECK(info("{}")->body_size == 0);
}

TEST_CASE("a size that is no JSON integer from 0 to 2^53-1 is a framing error") {
  for (const std::string_view size : {"-1", "9007199254740992", "18446744073709551615", "5.0", "5e0",
                                      R"("5")", "null", "true", "[5]", "{}"}) {
    CAPTURE(size);
    CHECK(!info(fmt::format(R"({{"cmd":"ping","data_size":{}}})", size)));
    CHECK(!info(fmt::format(R"({{"data_size":{}}})", size), false));
    CHECK(!info(fmt::format(R"({{"cmd":"put","filesize":{}}})", size)));
    CHECK(!info(fmt::format(R"({{"cmd":"put","data_size":1,"offset":0,"filesize":{}}})", size)));
    CHECK(info(fmt::format(R"({{"cmd":"get","filesize":{}}})", size)));         // elsewhere it means nothing
    CHECK(info(fmt::format(R"({{"cmd":"put","filesize":{}}})", size), false));  // nor in a continuing frame
  }
}

TEST_CASE("filesize is the body's size of a put that has no data_size") {
  CHECK(info(R"({"cmd":"put","filesize":5})")->body_size == 5);
  CHECK(info(R"({"cmd":"put","filesize":5,"more":true})")->body_size == 5);
  CHECK(info(R"({"cmd":"put"})")->body_size == 0);
  CHECK(info(R"({"cmd":"get","filesize":5})")->body_size == 0);
  CHECK(info(R"({"cmd":["put"],"filesize":5})")->body_size == 0);
  CHECK(info(R"({"filesize":5})")->body_size == 0);
}

TEST_CASE("two sizes of a put must agree unless it resumes or continues") {
  CHECK(info(R"({"cmd":"put","filesize":5,"data_size":5})")->body_size == 5);
  CHECK(!info(R"({"cmd":"put","filesize":5,"data_size":4})"));
  CHECK(!info(R"({"cmd":"put","filesize":5,"data_size":4,"more":false})"));
  CHECK(info(R"({"cmd":"put","filesize":5,"data_size":4,"more":true})")->body_size == 4);
  CHECK(info(R"({"cmd":"put","filesize":5,"data_size":4,"offset":1})")->body_size == 4);
  CHECK(info(R"({"cmd":"put","filesize":5,"data_size":4,"offset":9})")->body_size == 4);  // bad_request later
  CHECK(info(R"({"cmd":"get","filesize":5,"data_size":4})")->body_size == 4);
  CHECK(info(R"({"cmd":"put","filesize":5,"data_size":4})", false)->body_size == 4);
}

TEST_CASE("an offset of a put needs data_size") {
  CHECK(!info(R"({"cmd":"put","offset":1})"));
  CHECK(!info(R"({"cmd":"put","offset":1,"filesize":5})"));
  CHECK(!info(R"({"cmd":"put","offset":"x","more":true})"));
  CHECK(info(R"({"cmd":"put","offset":"x","data_size":1})"));  // bad_request later
  CHECK(info(R"({"cmd":"get","offset":1})"));
}

TEST_CASE("more and abort are true only where they say so") {
  CHECK(info(R"({"more":true})")->more);
  CHECK(info(R"({"abort":true})")->abort);
  for (const std::string_view value : {"false", "1", "null", R"("true")"}) {
    CHECK(!info(fmt::format(R"({{"more":{}}})", value))->more);
    CHECK(!info(fmt::format(R"({{"abort":{}}})", value))->abort);
  }
  CHECK(info(R"({"cmd":null})")->has_cmd);
  CHECK(!info(R"({"Cmd":"put"})")->has_cmd);
}
