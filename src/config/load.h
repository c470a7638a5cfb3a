// From a TOML file and the command line to Settings, with every error told in one go.
#pragma once

#include <expected>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "config/settings.h"

namespace ftpd {

/// One thing that is wrong: printed as `FILE:LINE: key: what is wrong, what is allowed`.
struct Problem {
  std::string file;
  unsigned line = 0;  // 0: no line (a default, or the command line)
  std::string key;    // "server.max_header", "listen[1].address", "role.local.root"; "" for a syntax error
  std::string text;

  [[nodiscard]] std::string message() const;
};

/// Settings and where each of them was said, so that whoever checks what the table can't know (is that
/// a right? may that address be listened on?) can point at the line.
struct LoadedSettings {
  Settings settings;
  std::string file;                       // "" where there was none
  std::map<std::string, unsigned> lines;  // key -> line, for the keys that the file sets

  /// A Problem that points at `key`'s line (or at the table's, or at no line).
  [[nodiscard]] Problem problem(std::string key, std::string text) const;
};

using Problems = std::vector<Problem>;

/// Parses and checks types, bounds and names against the table; an unknown key or table is a problem
/// with the nearest known name suggested. A syntax error is told alone.
[[nodiscard]] std::expected<LoadedSettings, Problems> parse_settings(std::string_view toml, std::string file);

/// Reads the file, then parse_settings. A file that can't be read is one Problem without a line.
[[nodiscard]] std::expected<LoadedSettings, Problems> load_settings(const std::string& file);

/// All effective settings as TOML, defaults included, each with its help as a comment; parse_settings
/// of it gives the same settings again.
[[nodiscard]] std::string print_settings(const Settings& settings);

/// One row of the table, for the manual and its test.
struct KeyDescription {
  std::string table;  // "server", "listen", "role.NAME"
  std::string key;
  std::string type;           // "duration", "size", "integer", "boolean", "string", "one of …", …
  std::string default_value;  // as TOML
  std::string bounds;         // "1 … 1048576", "" for none
  std::string help;           // one line
};
[[nodiscard]] std::vector<KeyDescription> describe_settings();

// Values as people write them.
[[nodiscard]] Result<Duration> parse_duration(std::string_view text);  // "30ms", "10s", "5m", "2h", "1d", "0"
[[nodiscard]] Result<std::uint64_t> parse_size(
    std::string_view text);  // "64MiB", "4KiB", "8191", "1GiB", "2TiB"
[[nodiscard]] std::string print_duration(Duration duration);
[[nodiscard]] std::string print_size(std::uint64_t size);

}  // namespace ftpd
