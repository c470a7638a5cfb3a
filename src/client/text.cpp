// Small conversions of text: what people read and what names and options are made of.
#include "client/text.h"

#include <fmt/format.h>
#include <simdjson.h>

#include <array>
#include <charconv>
#include <cmath>
#include <csignal>
#include <cstring>
#include <ctime>

namespace ftpd::client {
namespace {

constexpr std::string_view alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

bool is_control(char byte) {
  const auto value = static_cast<unsigned char>(byte);
  return value < 0x20 || value == 0x7f;
}

/// Bytes of the UTF-8 character that begins `text`; 0 where none does.
std::size_t character_size(std::string_view text) {
  const auto first = static_cast<unsigned char>(text.front());
  const std::size_t size = first < 0x80 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
  if (size > text.size() || !simdjson::validate_utf8(text.data(), size)) return 0;
  return size;
}

bool is_c1_control(std::string_view character) {
  return character.size() == 2 && character[0] == '\xc2' && static_cast<unsigned char>(character[1]) < 0xa0;
}

}  // namespace

std::string printable(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const std::size_t size = character_size(text);
    const std::string_view character = text.substr(0, size == 0 ? 1 : size);
    if (size == 0 || is_control(character.front()) || is_c1_control(character)) {
      out += '?';
    } else {
      out += character;
    }
    text.remove_prefix(character.size());
  }
  return out;
}

bool is_plain_name(std::string_view name) {
  for (const char byte : name) {
    if (is_control(byte)) return false;
  }
  return simdjson::validate_utf8(name.data(), name.size());
}

std::string base64(std::string_view bytes) {
  std::string out;
  for (std::size_t at = 0; at < bytes.size(); at += 3) {
    std::uint32_t group = 0;
    const std::size_t have = std::min<std::size_t>(3, bytes.size() - at);
    for (std::size_t i = 0; i < 3; ++i) {
      group = group << 8U | (i < have ? static_cast<unsigned char>(bytes[at + i]) : 0U);
    }
    for (std::size_t i = 0; i < 4; ++i) {
      out += i <= have ? alphabet[group >> (18 - 6 * i) & 0x3fU] : '=';
    }
  }
  return out;
}

std::optional<std::string> from_base64(std::string_view text) {
  if (text.size() % 4 != 0) return std::nullopt;
  std::string out;
  for (std::size_t at = 0; at < text.size(); at += 4) {
    const bool last = at + 4 == text.size();
    const std::size_t padding = !last || text[at + 3] != '=' ? 0 : text[at + 2] == '=' ? 2 : 1;
    std::uint32_t group = 0;
    for (std::size_t i = 0; i < 4; ++i) {
      const std::size_t value = i >= 4 - padding ? 0 : alphabet.find(text[at + i]);
      if (value == std::string_view::npos) return std::nullopt;
      group = group << 6U | static_cast<std::uint32_t>(value);
    }
    for (std::size_t i = 0; i < 3 - padding; ++i) out += static_cast<char>(group >> (16 - 8 * i) & 0xffU);
  }
  return out;
}

std::string human_size(std::uint64_t bytes) {
  constexpr std::array<std::string_view, 6> units{"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  if (bytes < 1000) return fmt::format("{} B", bytes);
  double value = static_cast<double>(bytes) / 1024;
  std::size_t unit = 0;
  while (value >= 999.95 && unit + 1 < units.size()) {
    value /= 1024;
    ++unit;
  }
  return fmt::format("{:.1f} {}", value, units[unit]);
}

std::string human_time(std::chrono::seconds span) {
  const auto total = span.count();
  if (total < 3600) return fmt::format("{}:{:02}", total / 60, total % 60);
  return fmt::format("{}:{:02}:{:02}", total / 3600, total / 60 % 60, total % 60);
}

std::string human_date(double seconds_since_1970) {
  constexpr double largest = 253402300799.0;  // the year 9999
  if (!(std::abs(seconds_since_1970) <= largest)) return {};
  const auto moment = static_cast<std::time_t>(std::floor(seconds_since_1970));
  std::tm parts{};
  if (::localtime_r(&moment, &parts) == nullptr) return {};
  char out[32];
  return {out, std::strftime(out, sizeof out, "%Y-%m-%d %H:%M:%S", &parts)};
}

std::string human_mode(std::string_view type, std::uint64_t mode) {
  std::string out = type == "directory" ? "d" : type == "symlink" ? "l" : type == "file" ? "-" : "?";
  for (std::size_t bit = 0; bit < 9; ++bit) {
    out += (mode >> (8 - bit) & 1U) != 0 ? "rwx"[bit % 3] : '-';
  }
  return out;
}

std::optional<std::chrono::milliseconds> parse_span(std::string_view text) {
  double value = 0;
  const auto [end, error] =
      std::from_chars(text.data(), text.data() + text.size(), value, std::chars_format::fixed);
  if (error != std::errc{}) return std::nullopt;
  const std::string_view unit = text.substr(static_cast<std::size_t>(end - text.data()));
  double scale = 0;
  if (unit.empty() || unit == "s") scale = 1000;
  if (unit == "ms") scale = 1;
  if (unit == "m") scale = 60'000;
  if (unit == "h") scale = 3'600'000;
  const double result = value * scale;
  constexpr double largest = 2147483648.0 * 1000;
  if (!(result >= 1 && result <= largest)) return std::nullopt;
  return std::chrono::milliseconds{std::llround(result)};
}

int signal_number(std::string_view name) {
  if (!name.starts_with("SIG")) return 0;
  name.remove_prefix(3);
  for (int number = 1; number < SIGRTMIN; ++number) {
    const char* const known = ::sigabbrev_np(number);
    if (known != nullptr && name == known) return number;
  }
  if (!name.starts_with("RTMIN")) return 0;
  name.remove_prefix(5);
  if (name.empty()) return SIGRTMIN;
  int offset = 0;
  const auto [end, error] = std::from_chars(name.data() + 1, name.data() + name.size(), offset);
  const bool whole = name.front() == '+' && error == std::errc{} && end == name.data() + name.size();
  return whole && offset >= 0 && offset <= SIGRTMAX - SIGRTMIN ? SIGRTMIN + offset : 0;
}

std::string shell_quoted(std::string_view word) {
  constexpr std::string_view harmless =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-./:=@%+,";
  if (!word.empty() && word.find_first_not_of(harmless) == std::string_view::npos) return std::string{word};
  std::string out = "'";
  for (const char byte : word) {
    if (byte == '\'') {
      out += "'\\''";
    } else {
      out += byte;
    }
  }
  return out += '\'';
}

}  // namespace ftpd::client
