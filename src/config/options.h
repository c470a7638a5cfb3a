// The command line of ftpd(8), and what it changes in the settings.
#pragma once

#include <cstdint>
#include <expected>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "config/load.h"
#include "config/settings.h"

namespace ftpd {

struct Options {
  enum class Action : std::uint8_t { run, check_config, print_config };

  Action action = Action::run;
  std::optional<std::string> config_file;                   // -c
  std::string default_config_file = "/etc/ftpd/ftpd.toml";  // without -c, where it is there
  std::vector<std::string> listen;                          // -l, as written: not parsed as addresses here
  std::optional<std::string> root;                          // -r
  bool commands = false;                                    // -e
  std::optional<TextReply> text_reply;
  std::optional<DialectChoice> dialect;
};

/// The program is to end before it began: `text` goes to standard output where the status is 0, else to
/// standard error. It ends with a line feed.
struct Exit {
  int status = 0;  // 0: --help, --version; 2: usage
  std::string text;
};

/// `argv` as main() got it.
[[nodiscard]] std::expected<Options, Exit> parse_options(int argc, const char* const* argv);

/// Lays the command line over the settings: each -l is a listener, in place of those of the file.
void apply(const Options& options, Settings& settings);

/// The same; the lines of what the command line said are forgotten, so that a Problem says where the
/// value came from.
void apply(const Options& options, LoadedSettings& loaded);

/// Adds a problem for whatever in the settings its owner can't accept (an address, a right's name).
using SettingsCheck = std::function<void(const LoadedSettings&, Problems&)>;

/// The file (-c, or the default one, or none), the command line over it, the checks, and every problem of
/// all three in one go. At start and again on SIGHUP.
[[nodiscard]] std::expected<LoadedSettings, Problems> load_settings(const Options& options,
                                                                    const SettingsCheck& check = {});

}  // namespace ftpd
