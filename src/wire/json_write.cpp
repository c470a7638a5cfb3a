// JSON text out: always valid, whatever bytes a name or a message holds.
#include "ftpd/json_write.h"

#include <array>
#include <charconv>
#include <cmath>
#include <cstddef>

#include "ftpd/conversation.h"
#include "wire/utf8.h"

namespace ftpd {

namespace {

// Most headers fit, so that writing one allocates once.
constexpr std::size_t usual_size = 256;

bool is_plain(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return byte >= 0x20 && byte < 0x80 && c != '"' && c != '\\';
}

void append_escaped(std::string& out, char c) {
  switch (c) {
    case '"': out += "\\\""; return;
    case '\\': out += "\\\\"; return;
    case '\b': out += "\\b"; return;
    case '\f': out += "\\f"; return;
    case '\n': out += "\\n"; return;
    case '\r': out += "\\r"; return;
    case '\t': out += "\\t"; return;
    default: break;
  }
  constexpr std::string_view digits = "0123456789abcdef";
  const auto byte = static_cast<unsigned char>(c);
  out += "\\u00";
  out += digits[byte >> 4U];
  out += digits[byte & 15U];
}

template <class Number>
void append_number(std::string& out, Number value) {
  std::array<char, 32> digits;  // the longest double has 24 characters
  const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), value).ptr;
  out.append(digits.data(), end);
}

}  // namespace

void append_json_string(std::string& out, std::string_view text) {
  out += '"';
  while (!text.empty()) {
    std::size_t plain = 0;
    while (plain < text.size() && is_plain(text[plain])) ++plain;
    out.append(text.substr(0, plain));
    text.remove_prefix(plain);
    if (text.empty()) break;

    const utf8::Character character = utf8::look(text);
    if (character.kind != utf8::Kind::complete) {
      out += "\xEF\xBF\xBD";
      text.remove_prefix(1);
      continue;
    }
    if (character.size == 1) {
      append_escaped(out, text.front());
    } else {
      out.append(text.substr(0, character.size));
    }
    text.remove_prefix(character.size);
  }
  out += '"';
}

JsonObject::JsonObject() {
  text_.reserve(usual_size);
  text_ += '{';
}

void JsonObject::key(std::string_view key) {
  if (text_.size() > 1) text_ += ',';
  text_ += '"';
  text_ += key;
  text_ += "\":";
}

JsonObject& JsonObject::add(std::string_view key, std::string_view value) {
  this->key(key);
  append_json_string(text_, value);
  return *this;
}

JsonObject& JsonObject::add(std::string_view key, bool value) {
  this->key(key);
  text_ += value ? "true" : "false";
  return *this;
}

JsonObject& JsonObject::add(std::string_view key, std::int64_t value) {
  this->key(key);
  append_number(text_, value);
  return *this;
}

JsonObject& JsonObject::add(std::string_view key, std::uint64_t value) {
  this->key(key);
  append_number(text_, value);
  return *this;
}

JsonObject& JsonObject::add(std::string_view key, double value) {
  this->key(key);
  if (std::isfinite(value)) {
    append_number(text_, value);
  } else {
    text_ += "null";  // JSON has no such number
  }
  return *this;
}

JsonObject& JsonObject::add_json(std::string_view key, std::string_view json) {
  this->key(key);
  text_ += json;
  return *this;
}

std::string JsonObject::take() {
  text_ += '}';
  return std::move(text_);
}

void append_frame(std::string& out, std::string_view header_json) {
  append_length(out, static_cast<std::uint32_t>(header_json.size()));
  out += header_json;
}

}  // namespace ftpd
