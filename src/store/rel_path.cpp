// What a path from a peer may look like: ftpd-protocol(7), "Paths".
#include "store/rel_path.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

namespace ftpd {
namespace {

/// The size of the well-formed UTF-8 sequence that `text` (not empty) begins with, or 0 (The Unicode
/// Standard, table 3-7: no overlong forms, no surrogates, nothing above U+10FFFF).
std::size_t utf8_sequence(std::string_view text) {
  const auto byte = [&](std::size_t index) { return static_cast<unsigned char>(text[index]); };
  const unsigned char lead = byte(0);
  if (lead < 0x80) return 1;
  if (lead < 0xC2 || lead > 0xF4) return 0;

  const std::size_t size = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
  if (text.size() < size) return 0;
  const unsigned char lowest = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
  const unsigned char highest = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
  if (byte(1) < lowest || byte(1) > highest) return 0;
  for (std::size_t index = 2; index < size; ++index) {
    if ((byte(index) & 0xC0) != 0x80) return 0;
  }
  return size;
}

/// Where `text` stops being UTF-8.
std::optional<std::size_t> ill_formed(std::string_view text) {
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t size = utf8_sequence(text.substr(at));
    if (size == 0) return at;
    at += size;
  }
  return std::nullopt;
}

bool is_control(char character) {
  const auto byte = static_cast<unsigned char>(character);
  return byte < 0x20 || byte == 0x7F;
}

Result<void> check_component(std::string_view component) {
  if (component.empty()) {
    return fail(Reason::invalid, "path has an empty component; put one \"/\" between names, none at the end");
  }
  if (component == "." || component == "..") {
    return fail(Reason::invalid,
                fmt::format("path has the component \"{}\"; only names are allowed", component));
  }
  if (component.size() > RelPath::max_component) {
    return fail(Reason::invalid, fmt::format("path has a component of {} bytes; at most {} are allowed",
                                             component.size(), RelPath::max_component));
  }
  return {};
}

enum class Alphabet : bool { text, bytes };

Result<void> check_alphabet(std::string_view text) {
  if (const auto at = std::ranges::find_if(text, is_control); at != text.end()) {
    return fail(Reason::invalid,
                fmt::format("path has the control character 0x{:02x} at byte {}; none are allowed",
                            static_cast<unsigned char>(*at), at - text.begin()));
  }
  if (const auto at = ill_formed(text)) {
    return fail(Reason::invalid, fmt::format("path is not UTF-8 at byte {}; names must be UTF-8", *at));
  }
  return {};
}

Result<void> check(std::string_view text, Alphabet alphabet) {
  if (text.empty()) return fail(Reason::invalid, "path is empty; a name relative to the root is needed");
  if (text.size() > RelPath::max_size) {
    return fail(Reason::invalid,
                fmt::format("path has {} bytes; at most {} are allowed", text.size(), RelPath::max_size));
  }
  if (text.front() == '/') {
    return fail(Reason::invalid,
                "path is absolute; it must be relative to the root, without a leading \"/\"");
  }
  if (alphabet == Alphabet::text) {
    if (auto fine = check_alphabet(text); !fine) return fine;
  } else if (text.find('\0') != std::string_view::npos) {
    return fail(Reason::invalid, "path holds a NUL, which no name can");
  }
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t end = std::min(text.find('/', begin), text.size());
    const std::string_view component = text.substr(begin, end - begin);
    if (auto fine = check_component(component); !fine) return fine;
    if (begin == 0 && component == ".ftpd") {
      return fail(Reason::invalid, "path begins with \".ftpd\", which is the daemon's own; use another name");
    }
    begin = end + 1;
  }
  return {};
}

}  // namespace

Result<RelPath> RelPath::parse(std::string_view text) {
  if (auto fine = check(text, Alphabet::text); !fine) return std::unexpected(std::move(fine.error()));
  return RelPath{std::string(text)};
}

Result<RelPath> RelPath::parse_bytes(std::string_view bytes) {
  if (auto fine = check(bytes, Alphabet::bytes); !fine) return std::unexpected(std::move(fine.error()));
  return RelPath{std::string(bytes)};
}

bool RelPath::is_text() const { return check_alphabet(text_).has_value(); }

Result<RelPath> RelPath::parse_or_root(std::string_view text) {
  if (text == ".") return root();
  return parse(text);
}

RelPath RelPath::parent() const {
  const std::size_t slash = text_.rfind('/');
  return slash == std::string::npos ? root() : RelPath{text_.substr(0, slash)};
}

std::string_view RelPath::name() const {
  const std::size_t slash = text_.rfind('/');
  return slash == std::string::npos ? std::string_view{text_} : std::string_view{text_}.substr(slash + 1);
}

}  // namespace ftpd
