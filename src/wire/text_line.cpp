// The text dialect: where a line ends, and what is no line.
#include "ftpd/text_line.h"

#include <algorithm>
#include <array>

#include "wire/utf8.h"

namespace ftpd {

namespace {

enum class Text : std::uint8_t {
  whole,     // text
  cut,       // text so far; it ends inside a character
  not_text,  // a control character, or not UTF-8
};

bool is_control(std::string_view character) {
  const auto first = static_cast<unsigned char>(character[0]);
  if (character.size() == 1) return (first < 0x20 && first != '\t' && first != '\r') || first == 0x7F;
  return character.size() == 2 && first == 0xC2 && static_cast<unsigned char>(character[1]) < 0xA0;  // C1
}

Text examine(std::string_view text) {
  while (!text.empty()) {
    const utf8::Character character = utf8::look(text);
    switch (character.kind) {
      case utf8::Kind::complete: break;
      case utf8::Kind::incomplete: return Text::cut;
      case utf8::Kind::invalid: return Text::not_text;
    }
    if (is_control(text.substr(0, character.size))) return Text::not_text;
    text.remove_prefix(character.size);
  }
  return Text::whole;
}

std::string_view without_cr(std::string_view line) {
  if (line.ends_with('\r')) line.remove_suffix(1);
  return line;
}

bool is_digit(char c) { return c >= '0' && c <= '9'; }

/// `METHOD … HTTP/1.x`, for any word in capitals: a browser lets a page choose the method.
bool looks_like_http(std::string_view line) {
  const auto is_method = [](char c) { return (c >= 'A' && c <= 'Z') || c == '-'; };
  const auto method = static_cast<std::size_t>(std::ranges::find_if_not(line, is_method) - line.begin());
  if (method == 0) return false;
  constexpr std::string_view version = " HTTP/1.";
  for (std::size_t at = line.find(version, method); at != std::string_view::npos;
       at = line.find(version, at + 1)) {
    const std::size_t minor = at + version.size();
    if (line[method] == ' ' && minor < line.size() && is_digit(line[minor])) return true;
  }
  return false;
}

/// The registered methods that a browser or a tool really sends: fewer words than looks_like_http()
/// takes, because a command in capitals that is none of these must still end by the clock.
bool begins_with_http_method(std::string_view line) {
  constexpr std::array<std::string_view, 22> methods = {
      "GET ",   "HEAD ", "POST ",  "PUT ",   "DELETE ", "CONNECT ",  "OPTIONS ",   "TRACE ",
      "PATCH ", "COPY ", "LOCK ",  "MKCOL ", "MOVE ",   "PROPFIND ", "PROPPATCH ", "UNLOCK ",
      "BIND ",  "LINK ", "MERGE ", "PRI ",   "REPORT ", "SEARCH "};
  return std::ranges::any_of(methods, [line](std::string_view method) { return line.starts_with(method); });
}

}  // namespace

Dialect sniff_dialect(std::string_view first_bytes, bool at_end) {
  const auto byte = [first_bytes](std::size_t at) { return static_cast<unsigned char>(first_bytes[at]); };
  if (first_bytes.size() >= 2 && byte(1) >= 0x20) return Dialect::text;
  if (first_bytes.size() >= 3) return byte(2) == 0 ? Dialect::frame : Dialect::text;
  return at_end ? Dialect::text : Dialect::undecided;
}

TextLines::Step TextLines::check(std::string_view line) const {
  // Only the bytes up to the limit are examined: whichever fault a reader meets first, going byte by
  // byte, is the one told, so the verdict does not depend on how the bytes arrive.
  if (examine(line.substr(0, max_header_)) == Text::not_text) return Step::not_text;
  return line.size() > max_header_ ? Step::too_long : Step::line;
}

TextLines::Outcome TextLines::judge(std::string_view line, std::size_t consumed) {
  if (const Step fault = check(line); fault != Step::line) return {fault, consumed, {}};
  if (examine(line) != Text::whole) return {Step::not_text, consumed, {}};
  if (first_ && looks_like_http(line)) return {Step::http, consumed, {}};
  first_ = false;
  return {Step::line, consumed, line};
}

TextLines::Outcome TextLines::advance(std::string_view input) {
  std::size_t skipped = 0;
  for (;;) {
    const std::string_view rest = input.substr(skipped);
    const std::size_t end = rest.find('\n');
    if (end == std::string_view::npos) {
      // A CR may be the first half of the line's end.
      const Step fault = check(without_cr(rest));
      if (fault != Step::line) return {fault, input.size(), {}};
      return {Step::need_input, skipped, {}};
    }
    seen_lf_ = true;
    const std::string_view line = without_cr(rest.substr(0, end));
    skipped += end + 1;
    if (!line.empty()) return judge(line, skipped);
  }
}

bool TextLines::idle_clock_runs(std::string_view input) const {
  return input.size() >= 2 && !seen_lf_ && !begins_with_http_method(input) && examine(input) == Text::whole;
}

TextLines::Outcome TextLines::finish(std::string_view input) {
  const Outcome outcome = advance(input);
  if (outcome.step != Step::need_input) return outcome;
  const std::string_view line = without_cr(input.substr(outcome.consumed));
  if (line.empty()) return {Step::need_input, input.size(), {}};
  return judge(line, input.size());
}

}  // namespace ftpd
