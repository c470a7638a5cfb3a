// Invariants: an accepted header has no duplicate key and no more than 32 levels, padding changes no
// verdict, and what the writer of JSON makes of any bytes is accepted and reads back.
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <set>
#include <string>

#include "ftpd/json_write.h"
#include "ftpd/message.h"

namespace {

using namespace ftpd;

void require(bool holds) {
  if (!holds) std::abort();
}

void check_object(simdjson::dom::object object, unsigned depth);

void check_value(simdjson::dom::element value, unsigned depth) {
  simdjson::dom::object object;
  simdjson::dom::array array;
  if (value.get(object) == simdjson::SUCCESS) {
    check_object(object, depth);
  } else if (value.get(array) == simdjson::SUCCESS) {
    require(depth <= limits::max_nesting);
    for (const auto item : array) check_value(item, depth + 1);
  }
}

void check_object(simdjson::dom::object object, unsigned depth) {
  require(depth <= limits::max_nesting);
  std::set<std::string_view> keys;
  for (const auto field : object) {
    require(keys.insert(field.key).second);
    check_value(field.value, depth + 1);
  }
}

/// No accessor may do worse than refuse, and what it gives is within its bounds.
void check_fields(const Header& header) {
  for (const auto field : header.object()) {
    const std::string_view key = field.key;
    require(header.has(key));
    static_cast<void>(header.string(key));
    static_cast<void>(header.boolean(key));
    static_cast<void>(header.number(key));
    static_cast<void>(header.strings(key));
    static_cast<void>(header.string_map(key));
    if (const auto size = header.size(key)) require(**size <= limits::max_size);
    if (const auto mode = header.integer(key, 0, 511)) require(**mode >= 0 && **mode <= 511);
  }
  for (const bool first : {true, false}) {
    if (const auto info = frame_info(header, first)) require(info->body_size <= limits::max_size);
  }
  HeaderParser echo;
  if (const auto id = RequestId::from(header); id && id->present()) {
    require(echo.parse("{\"id\":" + std::string(id->json()) + "}", false).has_value());
  }
}

void check_header(std::string_view text) {
  HeaderParser parser;
  const bool accepted = parser.parse(text, false).has_value();
  std::string padded{text};
  padded.append(simdjson::SIMDJSON_PADDING, '"');
  const auto header = parser.parse(std::string_view{padded}.substr(0, text.size()), true);
  require(header.has_value() == accepted);
  if (!accepted) {
    require(!header.error().empty());
    return;
  }
  check_object(header->object(), 1);
  check_fields(*header);
  const std::string written = simdjson::minify(header->object());
  require(parser.parse(written, false).has_value());
}

void check_writer(std::string_view text) {
  std::string object = "{\"a\":";
  append_json_string(object, text);
  object += '}';
  HeaderParser parser;
  const auto header = parser.parse(object, false);
  require(header.has_value());
  if (simdjson::validate_utf8(text)) require(**header->string("a") == text);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text(data, data + size);
  check_header(text);
  check_writer(text);
  return 0;
}
