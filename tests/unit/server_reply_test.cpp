// What goes out and what comes in: replies, fields of requests, the table of operations.
#include <doctest/doctest.h>

#include <cerrno>
#include <set>
#include <utility>
#include <vector>

#include "ftpd/json_write.h"
#include "server/fields.h"
#include "server/operations.h"
#include "server/reply.h"

using namespace ftpd;

namespace {

/// A header that owns what it is a view of.
class Parsed {
 public:
  explicit Parsed(std::string text) : text_(std::move(text)) {
    auto header = parser_.parse(text_, false);
    REQUIRE_MESSAGE(header.has_value(), text_);
    header_ = *header;
  }
  [[nodiscard]] const Header& operator*() const { return *header_; }
  [[nodiscard]] const Header* operator->() const { return &*header_; }

 private:
  std::string text_;
  HeaderParser parser_;
  std::optional<Header> header_;
};

/// The header of a frame that has no body.
std::string header_of(std::string_view frame) {
  REQUIRE(frame.size() > limits::length_size);
  std::string expected;
  append_frame(expected, frame.substr(limits::length_size));
  REQUIRE(expected == frame);
  return std::string(frame.substr(limits::length_size));
}

RequestId id_of(const std::string& json) {
  const Parsed header("{\"id\":" + json + "}");
  auto id = RequestId::from(*header);
  REQUIRE(id.has_value());
  return std::move(*id);
}

std::string_view text_of(const Field<std::string_view>& field) {
  REQUIRE(field.has_value());
  REQUIRE(field->has_value());
  return **field;
}

}  // namespace

// --- replies

TEST_CASE("every reason becomes its own status") {
  const std::vector<std::pair<Reason, Status>> expected{{Reason::invalid, Status::bad_request},
                                                        {Reason::not_found, Status::not_found},
                                                        {Reason::exists, Status::exists},
                                                        {Reason::is_directory, Status::is_directory},
                                                        {Reason::not_directory, Status::not_directory},
                                                        {Reason::not_empty, Status::not_empty},
                                                        {Reason::denied, Status::denied},
                                                        {Reason::too_large, Status::too_large},
                                                        {Reason::quota, Status::quota_exceeded},
                                                        {Reason::no_space, Status::no_space},
                                                        {Reason::busy, Status::busy},
                                                        {Reason::timeout, Status::timeout},
                                                        {Reason::aborted, Status::aborted},
                                                        {Reason::unsupported, Status::unsupported},
                                                        {Reason::system, Status::io_error}};
  std::set<Status> seen;
  for (const auto& [reason, status] : expected) {
    CAPTURE(name(status));
    CHECK(status_of(Error::of(reason, "")) == status);
    CHECK(seen.insert(status).second);
  }
}

TEST_CASE("a failure keeps the text and the number of its error") {
  const Failure failure = failure_of(Error::from_errno(EIO, "write \"a\""));
  CHECK(failure.status == Status::io_error);
  CHECK(failure.number == EIO);
  CHECK(failure.message.starts_with("write \"a\": "));
  CHECK_FALSE(failure.retry_after_ms.has_value());
}

TEST_CASE("whoever is told busy is told when to come again") {
  CHECK(failure_of(Error::from_errno(EMFILE, "pipe")).retry_after_ms.has_value());
}

TEST_CASE("a success says ok first and data_size last") {
  CHECK(header_of(finish_reply(begin_reply({}))) == R"({"ok":true,"data_size":0})");
  JsonObject reply = begin_reply(id_of("17"));
  reply.add("filename", "a");
  CHECK(header_of(finish_reply(std::move(reply), 0)) ==
        R"({"ok":true,"id":17,"filename":"a","data_size":0})");
}

TEST_CASE("a failure carries all that is known of it") {
  const Failure failure{.status = Status::no_space,
                        .message = "full",
                        .number = ENOSPC,
                        .need = 10,
                        .free = 3,
                        .retry_after_ms = 5};
  CHECK(header_of(failure_reply(id_of(R"("a\"b")"), failure)) ==
        R"({"ok":false,"id":"a\"b","error":"no_space","message":"full","errno":"ENOSPC","need":10,"free":3,)"
        R"("retry_after_ms":5,"retry":true,"data_size":0})");
}

TEST_CASE("what is not known of a failure is left out") {
  CHECK(header_of(failure_reply({}, {.status = Status::denied, .message = "no"})) ==
        R"({"ok":false,"error":"denied","message":"no","retry":false,"data_size":0})");
  CHECK_FALSE(
      Parsed(header_of(failure_reply({}, {.status = Status::io_error, .message = "", .number = 99999})))
          ->has("errno"));
}

TEST_CASE("a message is cut at 512 bytes, between characters") {
  const auto message_of = [](std::string message) {
    const Parsed header(
        header_of(failure_reply({}, {.status = Status::bad_request, .message = std::move(message)})));
    return std::string(text_of(header->string("message")));
  };
  CHECK(message_of(std::string(511, 'x')).size() == 511);
  CHECK(message_of(std::string(512, 'x')).size() == 512);
  CHECK(message_of(std::string(513, 'x')).size() == 512);
  const std::string euro = "\xE2\x82\xAC";
  for (std::size_t before = 508; before <= 512; ++before) {
    CAPTURE(before);
    const std::size_t whole = before + 3 <= 512 ? before + 3 : before;
    CHECK(message_of(std::string(before, 'x') + euro + std::string(100, 'y')).substr(0, whole) ==
          std::string(before, 'x') + (before + 3 <= 512 ? euro : ""));
    CHECK(message_of(std::string(before, 'x') + euro + "y").size() <= 512);
  }
}

TEST_CASE("a message of nothing but continuation bytes becomes valid text") {
  const std::string reply =
      failure_reply({}, {.status = Status::bad_request, .message = std::string(2000, '\x80')});
  const Parsed header(header_of(reply));
  CHECK(header->has("message"));
}

TEST_CASE("the longest failure fits into a header of the default size") {
  const Failure failure{.status = Status::quota_exceeded,
                        .message = std::string(5000, '\x01'),
                        .number = ENOTRECOVERABLE,
                        .need = UINT64_MAX,
                        .free = UINT64_MAX,
                        .retry_after_ms = UINT64_MAX};
  std::string id(limits::max_id, '\x02');
  std::string json;
  append_json_string(json, id);
  CHECK(header_of(failure_reply(id_of(json), failure)).size() <= limits::default_max_header);
}

TEST_CASE("the text dialect's failure is one line") {
  CHECK(failure_line({.status = Status::denied, .message = "not you"}) == "ftpd: denied: not you\n");
  CHECK(failure_line({.status = Status::denied, .message = std::string(9999, 'x')}).size() < 600);
}

// --- fields

TEST_CASE("an absent field is nothing, a wrong one is bad_request") {
  const Parsed header(R"({"a":1,"b":"x"})");
  CHECK(optional_field(header->string("c")).value_or("?") == std::nullopt);
  CHECK(optional_field(header->string("b")).value() == "x");
  const auto wrong = optional_field(header->string("a"));
  REQUIRE_FALSE(wrong.has_value());
  CHECK(wrong.error().status == Status::bad_request);
  CHECK(wrong.error().message.starts_with("a: "));
}

TEST_CASE("a path is checked, and its field named where it is wrong") {
  const Parsed header(R"({"good":"a/b","dot":".","up":"../a","own":".ftpd/x","number":3,"empty":""})");
  CHECK(path_field(*header, "good", RootIs::refused)->text() == "a/b");
  CHECK(path_field(*header, "dot", RootIs::allowed)->is_root());
  for (const char* const key : {"dot", "up", "own", "number", "empty", "missing"}) {
    CAPTURE(key);
    const auto path = path_field(*header, key, RootIs::refused);
    REQUIRE_FALSE(path.has_value());
    CHECK(path.error().status == Status::bad_request);
    CHECK(path.error().message.starts_with(std::string{key} + ": "));
  }
  CHECK_FALSE(path_field(*header, "up", RootIs::allowed).has_value());
  CHECK_FALSE(path_field(*header, "own", RootIs::allowed).has_value());
}

TEST_CASE("what is not built is refused where it is asked for") {
  const Parsed header(R"({"digest":"md5","wait":false,"follow":true,"upload":null})");
  CHECK(refuse_unbuilt(*header, {"md5", "wait"}).has_value());
  for (const char* const key : {"digest", "follow", "upload"}) {
    CAPTURE(key);
    const auto refused = refuse_unbuilt(*header, {"md5", key});
    REQUIRE_FALSE(refused.has_value());
    CHECK(refused.error().status == Status::unsupported);
    CHECK(refused.error().message.starts_with(key));
  }
}

TEST_CASE("a time comes back as it went in") {
  for (const double seconds : {0.0, 1.0, 1.5, 1.9, 0.1, 1'700'000'000.0, 1'700'000'000.25, -1.0, -0.5, -1.75,
                               1e11, -1e11, 1'699'999'999.999999}) {
    CAPTURE(seconds);
    const timespec time = timespec_of(seconds);
    CHECK(time.tv_nsec >= 0);
    CHECK(time.tv_nsec < 1'000'000'000);
    CHECK(seconds_of(time) == seconds);
  }
}

TEST_CASE("a time that is a breath below the next second is that second") {
  const timespec time = timespec_of(0.9999999999);
  CHECK(time.tv_sec == 1);
  CHECK(time.tv_nsec == 0);
}

TEST_CASE("base64 is that of RFC 4648") {
  CHECK(to_base64("").empty());
  CHECK(to_base64("f") == "Zg==");
  CHECK(to_base64("fo") == "Zm8=");
  CHECK(to_base64("foo") == "Zm9v");
  CHECK(to_base64("foob") == "Zm9vYg==");
  CHECK(to_base64("fooba") == "Zm9vYmE=");
  CHECK(to_base64("foobar") == "Zm9vYmFy");
  CHECK(to_base64(std::string_view("\xff\xfe\x00", 3)) == "//4A");
}

// --- operations

TEST_CASE("every operation has a name of its own, a right and a maker") {
  std::set<std::string_view> names;
  for (const OperationRow& row : operations()) {
    CAPTURE(row.name);
    CHECK(names.insert(row.name).second);
    const bool complete = row.right != nullptr && row.make != nullptr;
    CHECK(complete);
    CHECK(find_operation(row.name) == &row);
    CHECK_FALSE(known_but_not_built(row.name));
  }
  CHECK(names.contains("ping"));
}

TEST_CASE("what is no operation is not found") {
  for (const char* const name : {"", "PING", "ping ", "pin", "pingping", "nothing"}) {
    CAPTURE(name);
    CHECK(find_operation(name) == nullptr);
    CHECK_FALSE(known_but_not_built(name));
  }
}

TEST_CASE("exec needs the right that goes with how the command is given") {
  const FrameInfo frame;
  const RequestId id;
  const auto right = [&](const char* text) {
    const Parsed header(text);
    return right_of_exec({*header, frame, id});
  };
  CHECK(right(R"({"cmd":"exec","argv":["id"]})") == Right::exec);
  CHECK(right(R"({"cmd":"exec","command":"id"})") == Right::shell);
  CHECK(right(R"({"cmd":"exec","command":3,"argv":["id"]})") == Right::shell);
  CHECK(right(R"({"cmd":"exec"})") == Right::exec);
}
