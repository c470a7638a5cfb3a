// The framing machine: the same steps however the bytes arrive, every limit at its edge.
#include <doctest/doctest.h>

#include <climits>

#include "base/buffer.h"
#include "ftpd/conversation.h"
#include "support/wire_trace.h"

using namespace ftpd;
using test::Answer;
using Side = Conversation::Side;
using State = Conversation::State;
using Step = Conversation::Step;

static_assert(sizeof(Conversation) <= 128, "an idle connection has 512 bytes in all");
static_assert(Buffer::padding >= simdjson::SIMDJSON_PADDING);

namespace {

std::string frame(std::string_view header, std::string_view body = "") {
  std::string out;
  append_frame(out, header);
  out += body;
  return out;
}

std::string length_bytes(std::int64_t length) {
  std::string out;
  append_length(out, static_cast<std::uint32_t>(length));
  return out;
}

const std::string ping = frame(R"({"cmd":"ping"})");
constexpr std::string_view ping_trace = "header {\"cmd\":\"ping\"} body=0 cmd\nend RESPOND\n";
constexpr std::string_view at_rest = "= READ_LEN idle unread 0 owed 0\n";

/// Checks one stream whole, byte by byte and in every split in two. `expected` without the last line.
void check_stream(const std::string& input, const std::string& expected, Answer answer = Answer::at_the_end,
                  Side side = Side::daemon) {
  CAPTURE(input);
  const std::string whole = test::trace_conversation(input, test::whole, answer, side);
  CHECK(whole.substr(0, whole.rfind("= ")) == expected);
  CHECK(test::trace_conversation(input, test::byte_by_byte, answer, side) == whole);
  for (std::size_t cut = 1; cut < input.size(); ++cut) {
    const std::string split = test::trace_conversation(input, {cut, input.size()}, answer, side);
    if (split != whole) {
      CAPTURE(cut);
      CHECK(split == whole);
    }
  }
}

/// The same, and again with a ping glued to its end.
void check_messages(const std::string& input, const std::string& expected,
                    Answer answer = Answer::at_the_end) {
  check_stream(input, expected, answer);
  check_stream(input + ping,
               expected + std::string{answer == Answer::at_the_end
                                          ? ping_trace
                                          : "header {\"cmd\":\"ping\"} body=0 cmd\nend READ_LEN\n"},
               answer);
  CHECK(test::trace_conversation(input, test::whole, answer).ends_with(at_rest));
}

/// What is wrong with the frame, or "" where it is announced.
std::string problem_of(const std::string& bytes, std::uint32_t max_header = limits::default_max_header) {
  Conversation conversation(Side::daemon, max_header, 1000);
  HeaderParser parser;
  const auto outcome = conversation.advance(bytes, parser, false);
  if (outcome.step != Step::broken) return "";
  CHECK(conversation.advance(bytes, parser, false).step == Step::broken);
  return conversation.problem();
}

struct Client {
  Conversation conversation{Side::daemon, limits::default_max_header, 1000};
  HeaderParser parser;
  Conversation::Outcome advance(std::string_view input) { return conversation.advance(input, parser, false); }
};

}  // namespace

TEST_CASE("a message of one frame without body is a header and an end") {
  check_messages(ping, std::string{ping_trace});
}

TEST_CASE("a header step carries the header's text") {
  Client client;
  const std::string bytes = ping + ping;
  const auto outcome = client.advance(bytes);
  CHECK(outcome.step == Step::header);
  CHECK(outcome.bytes == R"({"cmd":"ping"})");
  CHECK(outcome.consumed == ping.size());
}

TEST_CASE("a body is given out in pieces that add up") {
  check_messages(
      frame(R"({"cmd":"put","filename":"a","filesize":5})", "12345"),
      "header {\"cmd\":\"put\",\"filename\":\"a\",\"filesize\":5} body=5 cmd\nbody \"12345\"\nend RESPOND\n");
}

TEST_CASE("pipelined messages come out one after the other") {
  check_messages(ping + frame(R"({"cmd":"exec","data_size":2})", "ab") + ping,
                 std::string{ping_trace} +
                     "header {\"cmd\":\"exec\",\"data_size\":2} body=2 cmd\nbody \"ab\"\nend RESPOND\n" +
                     std::string{ping_trace});
}

TEST_CASE("a message continues until a frame without more") {
  check_messages(frame(R"({"cmd":"put","more":true,"data_size":2})", "ab") + frame(R"({"more":true})") +
                     frame(R"({"more":true,"data_size":1})", "c") + frame(R"({"data_size":3})", "def"),
                 "header {\"cmd\":\"put\",\"more\":true,\"data_size\":2} body=2 more cmd\nbody \"ab\"\n"
                 "header {\"more\":true} body=0 more continuing\n"
                 "header {\"more\":true,\"data_size\":1} body=1 more continuing\nbody \"c\"\n"
                 "header {\"data_size\":3} body=3 continuing\nbody \"def\"\nend RESPOND\n");
}

TEST_CASE("abort makes a continuing frame the last one, whatever its more says") {
  check_messages(frame(R"({"cmd":"put","more":true})") + frame(R"({"abort":true,"more":true})"),
                 "header {\"cmd\":\"put\",\"more\":true} body=0 more cmd\n"
                 "header {\"abort\":true,\"more\":true} body=0 abort continuing\nend RESPOND\n");
}

TEST_CASE("abort in a first frame means nothing") {
  check_messages(frame(R"({"cmd":"put","abort":true,"more":true})") + frame("{}"),
                 "header {\"cmd\":\"put\",\"abort\":true,\"more\":true} body=0 more cmd\n"
                 "header {} body=0 continuing\nend RESPOND\n");
}

TEST_CASE("a first frame without cmd is no framing error") {
  check_messages(frame(R"({"data_size":1})", "x"),
                 "header {\"data_size\":1} body=1\nbody \"x\"\nend RESPOND\n");
  check_messages(frame(R"({"cmd":7})"), "header {\"cmd\":7} body=0 cmd\nend RESPOND\n");
}

TEST_CASE("cmd in a continuing frame before the final reply is a framing error") {
  check_stream(frame(R"({"cmd":"put","more":true})") + ping,
               "header {\"cmd\":\"put\",\"more\":true} body=0 more cmd\n"
               "broken: cmd is in a frame that continues a message, where it must not be\n");
  check_stream(frame(R"({"cmd":"put","more":true})") + frame(R"({"cmd":null})"),
               "header {\"cmd\":\"put\",\"more\":true} body=0 more cmd\n"
               "broken: cmd is in a frame that continues a message, where it must not be\n");
}

TEST_CASE("filesize means nothing in a continuing frame") {
  check_messages(frame(R"({"cmd":"put","more":true})") + frame(R"({"filesize":"x"})"),
                 "header {\"cmd\":\"put\",\"more\":true} body=0 more cmd\n"
                 "header {\"filesize\":\"x\"} body=0 continuing\nend RESPOND\n");
}

TEST_CASE("what follows an early answer is discarded without a word up to the last frame") {
  check_messages(frame(R"({"cmd":"put","more":true,"data_size":3})", "abc") +
                     frame(R"({"more":true,"data_size":2})", "de") + frame(R"({"data_size":1})", "f"),
                 "header {\"cmd\":\"put\",\"more\":true,\"data_size\":3} body=3 more cmd\nend READ_LEN\n",
                 Answer::at_once);
  check_messages(frame(R"({"cmd":"put","more":true})") + frame(R"({"more":true,"abort":true})"),
                 "header {\"cmd\":\"put\",\"more\":true} body=0 more cmd\nend READ_LEN\n", Answer::at_once);
}

TEST_CASE("a frame with cmd ends an answered message") {
  check_messages(frame(R"({"cmd":"put","more":true,"data_size":3})", "abc") +
                     frame(R"({"more":true,"data_size":2})", "de") +
                     frame(R"({"cmd":"put","filesize":1})", "f"),
                 "header {\"cmd\":\"put\",\"more\":true,\"data_size\":3} body=3 more cmd\n"
                 "header {\"cmd\":\"put\",\"filesize\":1} body=1 cmd\nend READ_LEN\n",
                 Answer::at_once);
}

TEST_CASE("framing stays checked in what is discarded") {
  check_stream(frame(R"({"cmd":"put","more":true})") + frame("[]"),
               "header {\"cmd\":\"put\",\"more\":true} body=0 more cmd\n"
               "broken: the header is an array, must be one JSON object\n",
               Answer::at_once);
}

TEST_CASE("the client reads replies by the same rule, with no rule about cmd") {
  check_stream(frame(R"({"ok":true,"more":true,"data_size":1})", "a") +
                   frame(R"({"ok":true,"cmd":"put","filesize":9,"abort":true,"more":true})") +
                   frame(R"({"ok":true,"data_size":0})") + frame(R"({"ok":false,"data_size":0})"),
               "header {\"ok\":true,\"more\":true,\"data_size\":1} body=1 more\nbody \"a\"\n"
               "header {\"ok\":true,\"cmd\":\"put\",\"filesize\":9,\"abort\":true,\"more\":true} body=0 more "
               "cmd continuing\n"
               "header {\"ok\":true,\"data_size\":0} body=0 continuing\nend RESPOND\n"
               "header {\"ok\":false,\"data_size\":0} body=0\nend RESPOND\n",
               Answer::at_the_end, Side::client);
}

TEST_CASE("a length is refused outside 1 to max_header, as soon as its four bytes are there") {
  for (const std::int64_t length :
       {std::int64_t{0}, std::int64_t{-1}, std::int64_t{INT_MIN}, std::int64_t{101}, std::int64_t{INT_MAX}}) {
    CHECK(problem_of(length_bytes(length), 100) ==
          fmt::format("the length of the header is {}, must be from 1 to 100", length));
  }
  CHECK(problem_of(length_bytes(1), 100).empty());
  CHECK(problem_of(length_bytes(100), 100).empty());
  CHECK(problem_of(length_bytes(0).substr(0, 3), 100).empty());
}

TEST_CASE("a header of exactly max_header bytes is taken") {
  const std::string header = R"({"cmd":"ping"})" + std::string(86, ' ');
  REQUIRE(header.size() == 100);
  CHECK(problem_of(frame(header), 100).empty());
  CHECK(problem_of(frame(header + ' '), 100) == "the length of the header is 101, must be from 1 to 100");
}

TEST_CASE("a length that is no length says what it looks like") {
  CHECK(problem_of("GET / HTTP/1.1\r\n").ends_with("; this looks like HTTP"));
  CHECK(problem_of("POST").ends_with("; this looks like HTTP"));
  CHECK(problem_of(std::string_view{"\x16\x03\x01\x02", 4}.data()).ends_with("; this looks like TLS"));
  CHECK(problem_of("ls -l\n").ends_with("; this looks like text"));
  CHECK(problem_of("id\r\n").ends_with("; this looks like text"));
  CHECK(problem_of("\xff\xfe\xfd\xfc").ends_with("8191"));
}

TEST_CASE("nothing more is said after a framing error") {
  check_stream(frame("{") + ping, "broken: the header is not one JSON object\n");
}

TEST_CASE("the announced body counts against discard_limit before it arrives") {
  for (const std::uint64_t size : {999, 1000, 1001}) {
    Client client;
    const std::string header = fmt::format(R"({{"cmd":"put","data_size":{}}})", size);
    REQUIRE(client.advance(frame(header)).step == Step::header);
    client.conversation.answered();
    CHECK(client.conversation.discarding());
    CHECK(client.advance("").step == (size > 1000 ? Step::discard_over : Step::need_input));
    CHECK(client.advance("").step == (size > 1000 ? Step::discard_over : Step::need_input));
  }
}

TEST_CASE("what was read before the answer does not count against discard_limit") {
  Client client;
  const std::string bytes = frame(R"({"cmd":"put","data_size":1500})", std::string(500, 'x'));
  const auto header = client.advance(bytes);
  REQUIRE(header.step == Step::header);
  REQUIRE(client.advance(std::string_view{bytes}.substr(header.consumed)).bytes.size() == 500);
  client.conversation.answered();
  CHECK(client.advance("").step == Step::need_input);
  const auto rest = client.advance(std::string(1000, 'x'));
  CHECK(rest.step == Step::message_end);
  CHECK(rest.consumed == 1000);
  CHECK(client.conversation.state() == State::READ_LEN);
  CHECK(client.conversation.idle());
}

TEST_CASE("discard_limit holds for all frames of an answered message together, headers included") {
  const std::string next = R"({"more":true,"data_size":10})";
  const std::size_t each = limits::length_size + next.size() + 10;
  Client client;
  REQUIRE(client.advance(frame(R"({"cmd":"put","more":true})")).step == Step::header);
  client.conversation.answered();
  for (std::size_t sum = each; sum <= 1000; sum += each) {
    REQUIRE(client.advance(frame(next, "0123456789")).step == Step::need_input);
  }
  CHECK(client.advance(frame(next)).step == Step::discard_over);
}

TEST_CASE("discard_limit starts anew with each message") {
  const std::string one = frame(R"({"cmd":"put","data_size":900})", std::string(900, 'x'));
  CHECK(test::trace_conversation(one + one + one, test::whole, Answer::at_once).ends_with(at_rest));
}

TEST_CASE("no discard_limit is too large or too small to count with") {
  const std::string huge = frame(R"({"cmd":"put","data_size":9007199254740991,"more":true})");
  const auto step_with = [&huge](std::uint64_t limit) {
    Conversation conversation(Side::daemon, 8191, limit);
    HeaderParser parser;
    CHECK(conversation.advance(huge, parser, false).step == Step::header);
    conversation.answered();
    return conversation.advance("", parser, false).step;
  };
  CHECK(step_with(0) == Step::discard_over);
  CHECK(step_with(limits::max_size - 1) == Step::discard_over);
  CHECK(step_with(limits::max_size) == Step::need_input);
  CHECK(step_with(UINT64_MAX) == Step::need_input);
}

TEST_CASE("a body that the owner took from the socket is reported as complete") {
  Client client;
  REQUIRE(client.advance(frame(R"({"cmd":"put","data_size":5})")).step == Step::header);
  CHECK(client.conversation.body_remaining() == 5);
  client.conversation.body_taken(3);
  CHECK(client.advance("").step == Step::need_input);
  client.conversation.body_taken(2);
  CHECK(client.advance("").step == Step::message_end);
  CHECK(client.conversation.state() == State::RESPOND);
}

TEST_CASE("in RESPOND the input waits for the answer") {
  Client client;
  const auto header = client.advance(ping + ping);
  REQUIRE(header.step == Step::header);
  REQUIRE(header.consumed == ping.size());
  REQUIRE(client.advance(ping).step == Step::message_end);
  CHECK(client.advance(ping).step == Step::need_input);
  CHECK(client.advance(ping).consumed == 0);
  client.conversation.answered();
  CHECK(client.advance(ping).step == Step::header);
}

TEST_CASE("an answer between the last byte of a body and the end still ends in READ_LEN") {
  Client client;
  REQUIRE(client.advance(ping).step == Step::header);
  client.conversation.answered();
  CHECK(client.advance("").step == Step::message_end);
  CHECK(client.conversation.state() == State::READ_LEN);
}

TEST_CASE("an answer between the frames of a message discards the rest") {
  const std::string rest = frame(R"({"data_size":2})", "xy");
  for (std::size_t before = 0; before < limits::length_size + 15; ++before) {
    CAPTURE(before);
    Client client;
    REQUIRE(client.advance(frame(R"({"cmd":"put","more":true})")).step == Step::header);
    const auto early = client.advance(std::string_view{rest}.substr(0, before));
    REQUIRE(early.step == Step::need_input);
    client.conversation.answered();
    const auto end = client.advance(std::string_view{rest}.substr(early.consumed));
    CHECK(end.step == Step::message_end);
    CHECK(end.consumed == rest.size() - early.consumed);
    CHECK(client.conversation.idle());
  }
}

TEST_CASE("an answer in the place of a body: what follows is the next frame") {
  SUBCASE("of a message of one frame") {
    Client client;
    REQUIRE(client.advance(frame(R"({"cmd":"put","data_size":1000000,"wait":true})")).step == Step::header);
    client.conversation.answered_instead_of_body();
    CHECK(client.advance("").step == Step::message_end);
    CHECK(client.conversation.idle());
    CHECK(client.advance(ping).step == Step::header);
  }
  SUBCASE("of a message that was to continue: its other frames are dropped, or were never sent") {
    Client client;
    REQUIRE(client.advance(frame(R"({"cmd":"put","data_size":9,"more":true,"wait":true})")).step ==
            Step::header);
    client.conversation.answered_instead_of_body();
    SUBCASE("dropped") {
      CHECK(client.advance(frame(R"({"data_size":2})", "xy")).step == Step::message_end);
      CHECK(client.conversation.idle());
    }
    SUBCASE("never sent") {
      CHECK(client.advance(ping).step == Step::header);
      CHECK_FALSE(client.conversation.continuing());
    }
  }
}

TEST_CASE("an answer between messages changes nothing") {
  Client client;
  client.conversation.answered();
  CHECK(client.conversation.idle());
  CHECK(client.advance(ping.substr(0, 8)).consumed == 4);
  client.conversation.answered();
  CHECK(!client.conversation.discarding());
  CHECK(client.advance(ping.substr(4)).step == Step::header);
}

TEST_CASE("each state waits for what its name says") {
  struct Row {
    std::string_view input;
    State state;
    std::size_t wanted;
    bool idle;
  };
  const std::string header = R"({"cmd":"put","data_size":2,"more":true})";
  const std::string first = frame(header, "ab");
  const std::string last = frame("{}");
  const Row rows[] = {
      {"", State::READ_LEN, 4, true},
      {std::string_view{first}.substr(0, 3), State::READ_LEN, 4, true},
      {std::string_view{first}.substr(0, 4), State::READ_HEADER, header.size(), false},
      {std::string_view{first}.substr(0, 4 + header.size() - 1), State::READ_HEADER, header.size(), false},
      {std::string_view{first}.substr(0, 4 + header.size()), State::READ_BODY, 0, false},
      {std::string_view{first}.substr(0, first.size() - 1), State::READ_BODY, 0, false},
      {first, State::READ_LEN, 4, false},
  };
  for (const Row& row : rows) {
    CAPTURE(row.input);
    Client client;
    std::string_view input = row.input;
    for (;;) {
      const auto outcome = client.advance(input);
      input.remove_prefix(outcome.consumed);
      if (outcome.step == Step::need_input) break;
    }
    CHECK(client.conversation.state() == row.state);
    CHECK(client.conversation.wanted() == row.wanted);
    CHECK(client.conversation.idle() == row.idle);
  }
}

TEST_CASE("a client begins in RESPOND and reads when it has written") {
  Conversation conversation(Side::client, 8191, 0);
  HeaderParser parser;
  const std::string reply = frame(R"({"ok":true,"data_size":0})");
  CHECK(conversation.state() == State::RESPOND);
  CHECK(conversation.idle());
  CHECK(conversation.advance(reply, parser, false).consumed == 0);
  conversation.next_message();
  CHECK(conversation.state() == State::READ_LEN);
  CHECK(conversation.advance(reply, parser, false).step == Step::header);
  CHECK(conversation.advance("", parser, false).step == Step::message_end);
  CHECK(conversation.state() == State::RESPOND);
}

TEST_CASE("states have the names of the manual") {
  CHECK(name(State::READ_LEN) == "READ_LEN");
  CHECK(name(State::READ_HEADER) == "READ_HEADER");
  CHECK(name(State::READ_BODY) == "READ_BODY");
  CHECK(name(State::RESPOND) == "RESPOND");
}
