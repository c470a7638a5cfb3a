// The text dialect: which bytes are lines, which are refused, and when the clock may end a line.
#include <doctest/doctest.h>

#include "ftpd/text_line.h"
#include "support/wire_trace.h"

using namespace ftpd;
using Step = TextLines::Step;

namespace {

void check_lines(const std::string& input, const std::string& expected, std::uint32_t max_header = 100) {
  CAPTURE(input);
  CHECK(test::trace_lines(input, test::whole, max_header) == expected);
  CHECK(test::trace_lines(input, test::byte_by_byte, max_header) == expected);
  for (std::size_t cut = 1; cut < input.size(); ++cut) {
    const std::string split = test::trace_lines(input, {cut, input.size()}, max_header);
    if (split != expected) {
      CAPTURE(cut);
      CHECK(split == expected);
    }
  }
}

bool clock_runs(std::string_view input) {
  TextLines lines(100);
  CHECK(lines.advance(input).step == Step::need_input);
  return lines.idle_clock_runs(input);
}

}  // namespace

TEST_CASE("the first bytes decide the dialect") {
  struct Row {
    std::string_view bytes;
    Dialect dialect;
    Dialect at_end;
  };
  using enum Dialect;
  const Row rows[] = {
      {"", undecided, text},
      {"i", undecided, text},
      {"id", text, text},
      {"a ", text, text},
      {"i\n", undecided, text},
      {"i\nx", text, text},
      {"i\r\n", text, text},
      {{"\x0e\0", 2}, undecided, text},
      {{"\x0e\0\0", 3}, frame, frame},
      {{"\xff\x1f\0", 3}, frame, frame},
      {{"\xff\x1f\x01", 3}, text, text},
      {{"\x00\x20", 2}, text, text},
      {"\xff\xff", text, text},
      {"\xC3\xA9", text, text},
      {{"\0", 1}, undecided, text},
  };
  for (const Row& row : rows) {
    CAPTURE(row.bytes);
    CHECK(sniff_dialect(row.bytes, false) == row.dialect);
    CHECK(sniff_dialect(row.bytes, true) == row.at_end);
  }
}

TEST_CASE("every length that a frame may have where text is spoken too is a frame") {
  for (std::uint32_t length = 1; length <= limits::default_max_header; ++length) {
    std::string bytes;
    append_length(bytes, length);
    REQUIRE(sniff_dialect(bytes, false) == Dialect::frame);
  }
}

TEST_CASE("a line ends at LF, and a CR before it is dropped") {
  check_lines("id\n", "line \"id\"\n");
  check_lines("id\r\n", "line \"id\"\n");
  check_lines("id\r\r\n", "line \"id\\r\"\n");
  check_lines("a\rb\n", "line \"a\\rb\"\n");
  check_lines("a\nb\r\nc\n", "line \"a\"\nline \"b\"\nline \"c\"\n");
  check_lines("\tls -l | wc\n", "line \"\\tls -l | wc\"\n");
}

TEST_CASE("empty lines are skipped") {
  check_lines("\n\r\n\nid\n\n", "line \"id\"\n");
  check_lines("", "");
  check_lines("\n", "");
  check_lines("\r\n", "");
  check_lines("\r", "");
}

TEST_CASE("the end of input ends a line") {
  check_lines("id", "line \"id\"\n");
  check_lines("i", "line \"i\"\n");
  check_lines("id\r", "line \"id\"\n");
  check_lines("a\nb", "line \"a\"\nline \"b\"\n");
}

TEST_CASE("control characters are no text, and nothing of the line or behind it is given out") {
  for (const int c : {0, 1, 7, 8, 11, 12, 14, 27, 31, 127}) {
    const std::string bad(1, static_cast<char>(c));
    check_lines("a" + bad + "b\nid\n", "not_text\n");
    check_lines(bad + "\nid\n", "not_text\n");
    check_lines("id\n" + bad, "line \"id\"\nnot_text\n");
  }
  check_lines("a\xC2\x9B\n", "not_text\n");  // a control character of two bytes
  check_lines("a\xC2\xA0\n", "line \"a\xC2\xA0\"\n");
}

TEST_CASE("what is not UTF-8 is no text") {
  check_lines("\xff\n", "not_text\n");
  check_lines("caf\xE9\nid\n", "not_text\n");
  check_lines("\xC3\n", "not_text\n");
  check_lines("\xC3\r\n", "not_text\n");
  check_lines("\xE2\x82", "not_text\n");
  check_lines("\xED\xA0\x80\n", "not_text\n");
  check_lines("echo é€😀\n", "line \"echo é€😀\"\n");
}

TEST_CASE("what can never be text is told before its line ends") {
  TextLines lines(100);
  CHECK(lines.advance("id\xff").step == Step::not_text);
  TextLines others(100);
  CHECK(others.advance("id\xE2\x82").step == Step::need_input);
}

TEST_CASE("a line is as long as max_header and no longer") {
  const std::string longest(10, 'x');
  check_lines(longest + "\n", "line \"xxxxxxxxxx\"\n", 10);
  check_lines(longest + "\r\n", "line \"xxxxxxxxxx\"\n", 10);
  check_lines(longest, "line \"xxxxxxxxxx\"\n", 10);
  check_lines(longest + "\r", "line \"xxxxxxxxxx\"\n", 10);
  check_lines(longest + "x\n", "too_long\n", 10);
  check_lines(longest + "x", "too_long\n", 10);
  check_lines(longest + "\rx", "too_long\n", 10);
  check_lines(longest + "\r\r\n", "too_long\n", 10);
  check_lines("id\n" + longest + "xxxx", "line \"id\"\ntoo_long\n", 10);
}

TEST_CASE("of a fault of length and one of text the first is told") {
  check_lines("0123456789\x01\n", "too_long\n", 10);
  check_lines("012345678\x01xx\n", "not_text\n", 10);
  check_lines("012345678\xC3\xA9\n", "too_long\n", 10);
  check_lines("012345678\xC3\n", "not_text\n", 10);
  check_lines("012345678\xC3\x41\n", "too_long\n", 10);
}

TEST_CASE("a line that has no end is too long before one comes") {
  TextLines lines(10);
  CHECK(lines.advance("0123456789").step == Step::need_input);
  CHECK(lines.advance("0123456789\r").step == Step::need_input);
  CHECK(lines.advance("0123456789a").step == Step::too_long);
}

TEST_CASE("a first line that looks like HTTP is refused") {
  check_lines("GET / HTTP/1.1\r\nHost: x\r\n\r\n", "http\n");
  check_lines("GET / HTTP/1.0\nid\n", "http\n");
  check_lines("POST /a b c HTTP/1.1\n", "http\n");
  check_lines("M-SEARCH * HTTP/1.1\n", "http\n");
  check_lines("FOO / HTTP/1.1\n", "http\n");
  check_lines("GET / HTTP/1.1", "http\n");
  check_lines("GET / HTTP/1.1 \n", "http\n");
  check_lines("\r\nGET / HTTP/1.1\n", "http\n");  // empty lines are no line
}

TEST_CASE("what only resembles HTTP runs") {
  check_lines("echo HTTP/1.1\n", "line \"echo HTTP/1.1\"\n");
  check_lines("grep 'GET / HTTP/1.1' log\n", "line \"grep 'GET / HTTP/1.1' log\"\n");
  check_lines("GET http://192.0.2.1/\n", "line \"GET http://192.0.2.1/\"\n");
  check_lines("GET / HTTP/1.\n", "line \"GET / HTTP/1.\"\n");
  check_lines("GET / HTTP/2.0\n", "line \"GET / HTTP/2.0\"\n");
  check_lines("GET /HTTP/1.1\n", "line \"GET /HTTP/1.1\"\n");
  check_lines("id\nGET / HTTP/1.1\n", "line \"id\"\nline \"GET / HTTP/1.1\"\n");
}

TEST_CASE("the clock runs on two bytes of whole text") {
  CHECK(clock_runs("id"));
  CHECK(clock_runs("echo é"));
  CHECK(clock_runs("GET"));
  CHECK(clock_runs("R CMD x"));
  CHECK(!clock_runs(""));
  CHECK(!clock_runs("i"));
  CHECK(!clock_runs("echo \xC3"));
  CHECK(!clock_runs("echo \xF0\x9F\x98"));
  CHECK(!clock_runs("GET /"));
  CHECK(!clock_runs("POST / HTTP/1.1"));
  CHECK(!clock_runs("OPTIONS "));
}

TEST_CASE("the clock never runs on what is no text") {
  const TextLines lines(100);
  CHECK(!lines.idle_clock_runs(std::string_view{"a\0", 2}));
  CHECK(!lines.idle_clock_runs("ab\xff"));
  CHECK(!lines.idle_clock_runs("ab\x1b"));
}

TEST_CASE("the clock stops for good with the first LF") {
  TextLines lines(100);
  CHECK(lines.advance("id\nls").step == Step::line);
  CHECK(lines.advance("ls").step == Step::need_input);
  CHECK(!lines.idle_clock_runs("ls"));

  TextLines skipped(100);
  CHECK(skipped.advance("\nls").consumed == 1);
  CHECK(!skipped.idle_clock_runs("ls"));
}

TEST_CASE("a client that sends no LF has each command ended by the clock") {
  TextLines lines(100);
  for (const std::string_view command : {"id", "ls -l", "uname"}) {
    CHECK(lines.advance(command).step == Step::need_input);
    CHECK(lines.idle_clock_runs(command));
    const auto outcome = lines.finish(command);
    CHECK(outcome.step == Step::line);
    CHECK(outcome.line == command);
    CHECK(outcome.consumed == command.size());
  }
  CHECK(lines.finish("").step == Step::need_input);
}

TEST_CASE("a LF behind a line that the clock ended is an empty line") {
  TextLines lines(100);
  CHECK(lines.finish("id\r").line == "id");
  CHECK(lines.advance("\n").step == Step::need_input);
  CHECK(lines.advance("\n").consumed == 1);
}
