// Writing JSON: what goes out is valid whatever goes in, and reads back the same.
#include <doctest/doctest.h>

#include <cmath>
#include <cstdint>
#include <limits>

#include "ftpd/json_write.h"
#include "ftpd/message.h"

using namespace ftpd;

namespace {

std::string quoted(std::string_view text) {
  std::string out;
  append_json_string(out, text);
  return out;
}

std::string read_back(std::string_view text) {
  HeaderParser parser;
  const auto header = parser.parse("{\"a\":" + quoted(text) + "}", false);
  REQUIRE(header.has_value());
  return std::string{**header->string("a")};
}

}  // namespace

TEST_CASE("strings are escaped as JSON asks") {
  CHECK(quoted("") == "\"\"");
  CHECK(quoted("plain text") == "\"plain text\"");
  CHECK(quoted("a\"b\\c/d") == R"("a\"b\\c/d")");
  CHECK(quoted("\b\f\n\r\t") == R"("\b\f\n\r\t")");
  CHECK(quoted(std::string_view{"\0\x1f\x7f", 3}) == "\"\\u0000\\u001f\x7f\"");
  CHECK(quoted("é€😀") == "\"é€😀\"");
}

TEST_CASE("every byte of no character becomes U+FFFD") {
  CHECK(quoted("a\xff"
               "b") ==
        "\"a\xEF\xBF\xBD"
        "b\"");
  CHECK(quoted("\xC0\x80") == "\"\xEF\xBF\xBD\xEF\xBF\xBD\"");  // overlong
  CHECK(quoted("\xED\xA0\x80").size() == 2 + 9);                // a surrogate
  CHECK(quoted("\xF4\x90\x80\x80").size() == 2 + 12);           // above U+10FFFF
  CHECK(quoted("\xE2\x82") == "\"\xEF\xBF\xBD\xEF\xBF\xBD\"");  // cut short
  CHECK(quoted("\xE2\x82z") == "\"\xEF\xBF\xBD\xEF\xBF\xBDz\"");
}

TEST_CASE("every two bytes give a string that reads back") {
  for (int first = 0; first < 256; ++first) {
    std::string text;
    for (int second = 0; second < 256; second += 5) {
      text += static_cast<char>(first);
      text += static_cast<char>(second);
    }
    const std::string read = read_back(text);
    CHECK(!read.empty());
    if (first < 0x80) continue;
    CHECK(read_back(read) == read);
  }
  std::string ascii;
  for (char c = 0; c >= 0 && c < 127; ++c) ascii += c;
  CHECK(read_back(ascii) == ascii);
}

TEST_CASE("an object is written in the order given") {
  CHECK(JsonObject{}.take() == "{}");
  JsonObject object;
  object.add("ok", true).add("name", "a\"b").add("text", std::string_view{"x"}).add("n", -1).add("u", 7U);
  object.add("list", false).add_json("id", "[1]");
  const std::size_t size = object.size();
  const std::string text = std::move(object).take();
  CHECK(text == R"({"ok":true,"name":"a\"b","text":"x","n":-1,"u":7,"list":false,"id":[1]})");
  CHECK(text.size() == size);
}

TEST_CASE("numbers read back the same") {
  CHECK(JsonObject{}.add("a", std::numeric_limits<std::int64_t>::min()).take() ==
        R"({"a":-9223372036854775808})");
  CHECK(JsonObject{}.add("a", std::numeric_limits<std::uint64_t>::max()).take() ==
        R"({"a":18446744073709551615})");
  CHECK(JsonObject{}.add("a", 0.1).take() == R"({"a":0.1})");
  CHECK(JsonObject{}.add("a", 1700000000.25).take() == R"({"a":1700000000.25})");
  HeaderParser parser;
  for (const double value : {0.0, 1.0, 1e300, -1e-300, 5e-324, 1700000000.123456789, std::nextafter(1.0, 2.0),
                             std::numeric_limits<double>::max()}) {
    const auto header = parser.parse(JsonObject{}.add("a", value).take(), false);
    REQUIRE(header.has_value());
    CHECK(**header->number("a") == value);
  }
}

TEST_CASE("a number that JSON does not have is null") {
  CHECK(JsonObject{}.add("a", std::numeric_limits<double>::infinity()).take() == R"({"a":null})");
  CHECK(JsonObject{}.add("a", std::numeric_limits<double>::quiet_NaN()).take() == R"({"a":null})");
}

TEST_CASE("a frame is its length, little-endian, and the header") {
  std::string out = "x";
  append_frame(out, "{}");
  CHECK(out == std::string_view{"x\2\0\0\0{}", 7});
  out.clear();
  append_frame(out, std::string(0x1234, ' '));
  CHECK(out.substr(0, 4) == std::string_view{"\x34\x12\0\0", 4});
}
