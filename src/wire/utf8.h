// UTF-8, one character at a time: what the writer of JSON and the reader of lines share.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace ftpd::utf8 {

enum class Kind : std::uint8_t {
  complete,    // `size` bytes are one character
  incomplete,  // the text ends inside a character that is right so far; `size` is what is there
  invalid,     // the first byte begins no character; `size` is 1
};

struct Character {
  Kind kind;
  std::size_t size;
};

/// Looks at the beginning of `text`, which must not be empty. The ranges are those of the Unicode
/// Standard, table 3-7: no overlong form, no surrogate, nothing above U+10FFFF.
[[nodiscard]] inline Character look(std::string_view text) {
  const auto byte = [text](std::size_t at) { return static_cast<unsigned char>(text[at]); };
  const unsigned lead = byte(0);
  if (lead < 0x80) return {Kind::complete, 1};
  if (lead < 0xC2 || lead > 0xF4) return {Kind::invalid, 1};
  const std::size_t size = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
  const unsigned least = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
  const unsigned most = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
  for (std::size_t at = 1; at < size; ++at) {
    if (at == text.size()) return {Kind::incomplete, at};
    const bool second = at == 1;
    if (byte(at) < (second ? least : 0x80) || byte(at) > (second ? most : 0xBF)) return {Kind::invalid, 1};
  }
  return {Kind::complete, size};
}

}  // namespace ftpd::utf8
