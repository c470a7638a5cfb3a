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
  std::string file;   // "" where there is none, "command line" for what was said there
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
  std::map<std::string, unsigned> lines;  // key or table -> line, where the file sets it; `by_option`

  /// In `lines`: the command line said it.
  static constexpr unsigned by_option = 0;

  /// A Problem that points at `key`'s line (or at the table's, or at no line). Listeners are counted
  /// from 1: "listen[1].address".
  [[nodiscard]] Problem problem(std::string key, std::string text) const;
};

using Problems = std::vector<Problem>;

/// What could be understood of a file, and what could not: a key with a problem keeps its default, so
/// that checks beyond the table can still add theirs.
struct Draft {
  LoadedSettings loaded;
  Problems problems;
};

/// Parses and checks types, bounds and names against the table. A syntax error is told alone.
[[nodiscard]] std::expected<Draft, Problem> draft_settings(std::string_view toml, std::string file);

/// The same of a file; one that can't be read is a Problem without a line.
[[nodiscard]] std::expected<Draft, Problem> draft_settings_file(const std::string& file);

/// What no row says for itself: a listener's role must exist, `max_header` must suit the dialects.
void check_settings(const LoadedSettings& loaded, Problems& problems);

/// The settings where there is no problem; else all problems in the order of their lines.
[[nodiscard]] std::expected<LoadedSettings, Problems> finish(Draft draft);

/// draft_settings, check_settings, finish: a whole configuration with nothing to add to it.
[[nodiscard]] std::expected<LoadedSettings, Problems> parse_settings(std::string_view toml, std::string file);

/// Reads the file, then as parse_settings.
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

// Values as people write them: a number and a unit with nothing between or around them. Errors are
// Reason::invalid or Reason::too_large and quote the text.

/// "30ms", "10s", "5m", "2h", "1d"; the unit may be left out of "0" alone.
[[nodiscard]] Result<Duration> parse_duration(std::string_view text);

/// "64MiB", "4KiB", "1GiB", "2TiB"; bytes where there is no unit.
[[nodiscard]] Result<std::uint64_t> parse_size(std::string_view text);

/// What the parsers take; milliseconds are the finest, and a fraction of one is rounded up.
[[nodiscard]] std::string print_duration(Duration duration);
[[nodiscard]] std::string print_size(std::uint64_t size);

}  // namespace ftpd
