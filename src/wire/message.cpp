// Headers: the whole of a header is checked before any field of it is used.
#include "ftpd/message.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <span>

#include "ftpd/json_write.h"

namespace ftpd {

namespace dom = simdjson::dom;

namespace {

std::optional<dom::element> find(dom::object object, std::string_view key) {
  dom::element element;
  if (object.at_key(key).get(element) != simdjson::SUCCESS) return std::nullopt;
  return element;
}

/// What a peer sent, in the words of an error message.
std::string describe(dom::element element) {
  switch (element.type()) {
    case dom::element_type::ARRAY: return "an array";
    case dom::element_type::OBJECT: return "an object";
    case dom::element_type::STRING: return "a string";
    case dom::element_type::BOOL: return "a boolean";
    case dom::element_type::NULL_VALUE: return "null";
    case dom::element_type::DOUBLE: return "a number with a fraction or an exponent";
    case dom::element_type::INT64: {
      std::int64_t value = 0;
      if (element.get(value) == simdjson::SUCCESS) return fmt::to_string(value);
      break;
    }
    case dom::element_type::UINT64: {
      std::uint64_t value = 0;
      if (element.get(value) == simdjson::SUCCESS) return fmt::to_string(value);
      break;
    }
  }
  return "something else";
}

std::unexpected<FieldError> refuse(std::string_view key, dom::element element, std::string_view allowed) {
  return std::unexpected(FieldError{fmt::format("{}: {}, must be {}", key, describe(element), allowed)});
}

/// A field that simdjson converts as it is, or refuses.
template <class T>
Field<T> convert(dom::object object, std::string_view key, std::string_view allowed) {
  const auto element = find(object, key);
  if (!element) return std::nullopt;
  T value{};
  if (element->get(value) != simdjson::SUCCESS) return refuse(key, *element, allowed);
  return value;
}

std::string parse_problem(simdjson::error_code error) {
  if (error == simdjson::UTF8_ERROR) return "the header is not UTF-8";
  if (error == simdjson::NUMBER_ERROR) return "a number in the header is malformed or out of range";
  if (error == simdjson::STRING_ERROR) return "a string in the header has a wrong escape";
  if (error == simdjson::UNESCAPED_CHARS) return "a string in the header has a control character";
  if (error == simdjson::UNCLOSED_STRING) return "a string in the header has no end";
  if (error == simdjson::DEPTH_ERROR) {
    return fmt::format("the header is nested deeper than {}", limits::max_nesting);
  }
  if (error == simdjson::MEMALLOC || error == simdjson::CAPACITY) return "no memory for the header";
  return "the header is not one JSON object";
}

std::string duplicate_problem(std::string_view key) {
  constexpr std::size_t worth_showing = 64;
  if (key.size() > worth_showing) return "a key is there twice in the header";
  return fmt::format("the key \"{}\" is there twice in the header", key);
}

bool is_container(dom::element element) {
  const auto type = element.type();
  return type == dom::element_type::OBJECT || type == dom::element_type::ARRAY;
}

std::optional<std::string_view> duplicate_among(std::span<std::string_view> keys) {
  constexpr std::size_t few = 16;
  if (keys.size() > few) {
    std::ranges::sort(keys);
    const auto twin = std::ranges::adjacent_find(keys);
    if (twin != keys.end()) return *twin;
    return std::nullopt;
  }
  for (std::size_t one = 1; one < keys.size(); ++one) {
    for (std::size_t other = 0; other < one; ++other) {
      if (keys[one] == keys[other]) return keys[one];
    }
  }
  return std::nullopt;
}

/// The fields of a header that the framing reads, found in one pass: this runs for every frame.
struct FramingFields {
  std::optional<dom::element> cmd, data_size, filesize, offset, more, abort;
};

FramingFields framing_fields(dom::object header) {
  FramingFields fields;
  for (const dom::key_value_pair field : header) {
    const std::string_view key = field.key;
    if (key == "cmd") fields.cmd = field.value;
    if (key == "data_size") fields.data_size = field.value;
    if (key == "filesize") fields.filesize = field.value;
    if (key == "offset") fields.offset = field.value;
    if (key == "more") fields.more = field.value;
    if (key == "abort") fields.abort = field.value;
  }
  return fields;
}

bool is_true(std::optional<dom::element> field) {
  bool value = false;
  return field && field->get(value) == simdjson::SUCCESS && value;
}

bool is_put(std::optional<dom::element> cmd) {
  std::string_view name;
  return cmd && cmd->get(name) == simdjson::SUCCESS && name == "put";
}

Field<std::uint64_t> size_of(std::string_view key, std::optional<dom::element> field) {
  if (!field) return std::nullopt;
  std::uint64_t value = 0;
  if (field->get(value) == simdjson::SUCCESS && value <= limits::max_size) return value;
  return refuse(key, *field, fmt::format("an integer from 0 to {}", limits::max_size));
}

/// The body of the first frame of a `put`, which has two ways to say its size.
std::expected<std::uint64_t, std::string> put_body_size(const FramingFields& fields,
                                                        std::optional<std::uint64_t> data_size) {
  const auto file_size = size_of("filesize", fields.filesize);
  if (!file_size) return std::unexpected(file_size.error().text);
  if (!data_size) {
    if (fields.offset) {
      return std::unexpected("offset is there without data_size, which must say the size of the body");
    }
    return file_size->value_or(0);
  }
  // With `offset` or `more` the two may differ: one is the whole file's.
  if (!fields.offset && !is_true(fields.more) && *file_size && **file_size != *data_size) {
    return std::unexpected(fmt::format(
        "data_size is {} and filesize {}, must be the same without offset or more", *data_size, **file_size));
  }
  return *data_size;
}

}  // namespace

bool Header::has(std::string_view key) const { return find(object_, key).has_value(); }

Field<std::string_view> Header::string(std::string_view key) const {
  return convert<std::string_view>(object_, key, "a string");
}

Field<bool> Header::boolean(std::string_view key) const {
  return convert<bool>(object_, key, "true or false");
}

Field<double> Header::number(std::string_view key) const { return convert<double>(object_, key, "a number"); }

Field<std::int64_t> Header::integer(std::string_view key, std::int64_t least, std::int64_t most) const {
  const auto element = find(object_, key);
  if (!element) return std::nullopt;
  std::int64_t value = 0;
  // simdjson converts between its integer types, and never from a double.
  if (element->get(value) == simdjson::SUCCESS && value >= least && value <= most) return value;
  return refuse(key, *element, fmt::format("an integer from {} to {}", least, most));
}

Field<std::uint64_t> Header::size(std::string_view key) const { return size_of(key, find(object_, key)); }

Field<std::vector<std::string_view>> Header::strings(std::string_view key) const {
  const auto element = find(object_, key);
  if (!element) return std::nullopt;
  dom::array array;
  if (element->get(array) != simdjson::SUCCESS) return refuse(key, *element, "an array of strings");
  std::vector<std::string_view> values;
  values.reserve(array.size());
  for (const dom::element item : array) {
    std::string_view value;
    if (item.get(value) != simdjson::SUCCESS) {
      return std::unexpected(FieldError{
          fmt::format("{}: an array with {} in it, must be an array of strings", key, describe(item))});
    }
    values.push_back(value);
  }
  return values;
}

Field<std::vector<std::pair<std::string_view, std::string_view>>> Header::string_map(
    std::string_view key) const {
  const auto element = find(object_, key);
  if (!element) return std::nullopt;
  dom::object object;
  if (element->get(object) != simdjson::SUCCESS) return refuse(key, *element, "an object of strings");
  std::vector<std::pair<std::string_view, std::string_view>> values;
  values.reserve(object.size());
  for (const dom::key_value_pair field : object) {
    std::string_view value;
    if (field.value.get(value) != simdjson::SUCCESS) {
      return std::unexpected(FieldError{fmt::format(
          "{}: an object with {} in it, must be an object of strings", key, describe(field.value))});
    }
    values.emplace_back(field.key, value);
  }
  return values;
}

HeaderParser::HeaderParser() {
  // simdjson does not count an empty array or object as a level, so it gets room for one more than
  // is allowed, and check() counts. Where the allocation fails, parse() tries again and says so.
  [[maybe_unused]] const auto error = parser_.allocate(limits::default_max_header, limits::max_nesting + 2);
}

std::expected<Header, std::string> HeaderParser::parse(std::string_view text, bool padded) {
  if (text.starts_with("\xEF\xBB\xBF")) return std::unexpected("the header begins with a byte order mark");
  if (!padded) {
    copy_.resize(std::max(copy_.size(), text.size() + simdjson::SIMDJSON_PADDING));
    if (!text.empty()) std::memcpy(copy_.data(), text.data(), text.size());
    text = {copy_.data(), text.size()};
  }
  dom::element root;
  if (const auto error = parser_.parse(text.data(), text.size(), false).get(root)) {
    return std::unexpected(parse_problem(error));
  }
  dom::object object;
  if (root.get(object) != simdjson::SUCCESS) {
    return std::unexpected(fmt::format("the header is {}, must be one JSON object", describe(root)));
  }
  if (auto problem = check(root, 1)) return std::unexpected(std::move(*problem));
  return Header{object};
}

std::optional<std::string> HeaderParser::check(dom::element container, unsigned depth) {
  if (depth > limits::max_nesting) return parse_problem(simdjson::DEPTH_ERROR);
  bool nested = false;
  dom::object object;
  dom::array array;
  if (container.get(object) == simdjson::SUCCESS) {
    keys_.clear();
    for (const dom::key_value_pair field : object) {
      keys_.push_back(field.key);
      nested |= is_container(field.value);
    }
    if (const auto key = duplicate_among(keys_)) return duplicate_problem(*key);
    if (!nested) return std::nullopt;
    for (const dom::key_value_pair field : object) {
      if (!is_container(field.value)) continue;
      if (auto problem = check(field.value, depth + 1)) return problem;
    }
  } else if (container.get(array) == simdjson::SUCCESS) {
    for (const dom::element item : array) {
      if (!is_container(item)) continue;
      if (auto problem = check(item, depth + 1)) return problem;
    }
  }
  return std::nullopt;
}

std::expected<RequestId, FieldError> RequestId::from(const Header& header) {
  RequestId id;
  const auto element = find(header.object(), "id");
  if (!element) return id;
  std::string json;
  std::string_view text;
  std::int64_t integer = 0;
  std::uint64_t large = 0;
  if (element->get(text) == simdjson::SUCCESS && text.size() <= limits::max_id) {
    append_json_string(json, text);
  } else if (element->get(integer) == simdjson::SUCCESS) {
    json = fmt::to_string(integer);
  } else if (element->get(large) == simdjson::SUCCESS) {
    json = fmt::to_string(large);
  } else {
    return refuse("id", *element,
                  fmt::format("a string of at most {} bytes or an integer of 64 bits", limits::max_id));
  }
  id.json_ = std::make_shared<const std::string>(std::move(json));
  return id;
}

std::expected<FrameInfo, std::string> frame_info(const Header& header, bool first) {
  const FramingFields fields = framing_fields(header.object());
  FrameInfo info;
  info.has_cmd = fields.cmd.has_value();
  info.more = is_true(fields.more);
  info.abort = is_true(fields.abort);
  const auto data_size = size_of("data_size", fields.data_size);
  if (!data_size) return std::unexpected(data_size.error().text);
  if (first && is_put(fields.cmd)) {
    const auto size = put_body_size(fields, *data_size);
    if (!size) return std::unexpected(size.error());
    info.body_size = *size;
  } else {
    info.body_size = data_size->value_or(0);
  }
  return info;
}

}  // namespace ftpd
