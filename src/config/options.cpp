// The command line, by CLI11; the file and the command line together.
#include "config/options.h"

#include <fcntl.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <string_view>

#include "base/sys.h"
#include "base/unique_fd.h"
#include "config/settings_table.h"

namespace ftpd {
namespace {

constexpr int usage_error = 2;

constexpr const char* description = "ftpd: transfers files and runs commands over one TCP port.\n";
constexpr const char* examples =
    R"(With no configuration at all it listens on 127.0.0.1:8080 and keeps files under
./ftpd-root, made if it is missing; no commands run until -e allows them.
It stays in the foreground, logs to standard error, and stops on SIGTERM.

Examples:
  ftpd -r /srv/files                  files on 127.0.0.1:8080
  ftpd -l :9000 -l unix:/run/f.sock   two listeners
  ftpd -e --text-reply length         commands too, for clients that read sizes
  ftpd -c lab.toml --check-config     every error in lab.toml, then exit

Exit status: 0 stopped as asked, 1 failed while running, 2 usage or configuration.
Manuals: ftpd(8), ftpd.toml(5), ftpd-protocol(7), ftpc(1).)";

/// CLI11's help with our own synopsis, and placeholders in place of types.
struct HelpFormatter : CLI::Formatter {
  HelpFormatter() { column_width(31); }

  std::string make_usage(const CLI::App*, std::string) const override {
    return "Usage: ftpd [-c FILE] [-l ADDRESS]... [-r DIR] [-e] [OPTION]...\n";
  }
  std::string make_option_name(const CLI::Option* option, bool) const override {
    const std::string letter =
        option->get_snames().empty() ? std::string(4, ' ') : "-" + option->get_snames().front() + ", ";
    return letter + "--" + option->get_lnames().front();
  }
  std::string make_option_opts(const CLI::Option* option) const override {
    const std::string& placeholder = option->get_option_text();
    return placeholder.empty() ? placeholder : " " + placeholder;
  }
};

/// What the parser fills before it becomes Options.
struct Raw {
  std::string config_file;
  std::vector<std::string> listen;
  std::string root;
  bool commands = false;
  std::string text_reply;
  std::string dialect;
  bool check_config = false;
  bool print_config = false;
};

template <std::size_t Count>
CLI::Validator word_of(const std::array<std::string_view, Count>& words) {
  const auto check = [&words](const std::string& given) -> std::string {
    if (std::ranges::find(words, given) != words.end()) return "";
    return settings::quoted(given) + " is not known, allowed: " + settings::choice_text(words);
  };
  return {check, ""};
}

CLI::Validator not_empty() {
  return {[](const std::string& given) { return given.empty() ? "an empty value is not allowed" : ""; }, ""};
}

void declare(CLI::App& app, Raw& raw) {
  app.add_option("-c,--config", raw.config_file,
                 "configuration; without it /etc/ftpd/ftpd.toml,\nif that is there, else the defaults")
      ->option_text("FILE")
      ->type_name("value")
      ->check(not_empty());
  app.add_option("-l,--listen", raw.listen,
                 "listen here instead (repeatable): HOST:PORT,\n[V6]:PORT, :PORT (loopback) or unix:PATH")
      ->option_text("ADDRESS")
      ->type_name("value")
      ->expected(1)
      ->take_all()
      ->allow_extra_args(false)
      ->check(not_empty());
  app.add_option("-r,--root", raw.root, "root of the role `local`")
      ->option_text("DIR")
      ->type_name("value")
      ->check(not_empty());
  app.add_flag("-e,--exec", raw.commands, "the role `local` may run commands (exec and shell)");
  app.add_option("--text-reply", raw.text_reply, "how the text dialect is answered: plain, length\nor json")
      ->option_text("KIND")
      ->type_name("value")
      ->check(word_of(settings::text_reply_words));
  app.add_option("--dialect", raw.dialect, "what may be spoken: frame, text or both")
      ->option_text("KIND")
      ->type_name("value")
      ->check(word_of(settings::dialect_words));
  CLI::Option* const check =
      app.add_flag("--check-config", raw.check_config, "tell every error in the configuration, and exit");
  app.add_flag("--print-config", raw.print_config, "print the effective settings as TOML, and exit")
      ->excludes(check);
}

template <class Word, std::size_t Count>
std::optional<Word> index_of(const std::array<std::string_view, Count>& words, std::string_view word) {
  const auto found = std::ranges::find(words, word);
  if (found == words.end()) return {};
  return static_cast<Word>(found - words.begin());
}

std::optional<std::string> given(std::string text) {
  if (text.empty()) return {};
  return text;
}

Options to_options(Raw raw) {
  Options options;
  if (raw.check_config) options.action = Options::Action::check_config;
  if (raw.print_config) options.action = Options::Action::print_config;
  options.config_file = given(std::move(raw.config_file));
  options.listen = std::move(raw.listen);
  options.root = given(std::move(raw.root));
  options.commands = raw.commands;
  options.text_reply = index_of<TextReply>(settings::text_reply_words, raw.text_reply);
  options.dialect = index_of<DialectChoice>(settings::dialect_words, raw.dialect);
  return options;
}

void allow(RoleSettings& role, std::string_view right) {
  if (std::ranges::find(role.allow, right) == role.allow.end()) role.allow.emplace_back(right);
}

/// Only "it is not there" is no file: one that may not be read must be told, not passed over.
bool is_there(const std::string& file) {
  open_how how{};
  how.flags = O_PATH | O_CLOEXEC;
  const UniqueFd fd{sys::openat2(AT_FDCWD, file.c_str(), how)};
  return fd || (errno != ENOENT && errno != ENOTDIR);
}

std::expected<Draft, Problem> draft(const Options& options) {
  if (options.config_file) return draft_settings_file(*options.config_file);
  if (is_there(options.default_config_file)) return draft_settings_file(options.default_config_file);
  return Draft{};
}

}  // namespace

std::expected<Options, Exit> parse_options(int argc, const char* const* argv) {
  Raw raw;
  CLI::App app{description, "ftpd"};
  app.formatter(std::make_shared<HelpFormatter>());
  app.footer(examples);
  app.set_help_flag("-h,--help", "this text");
  app.set_version_flag("--version", "ftpd " FTPD_VERSION, "print the version");
  declare(app, raw);
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    return std::unexpected(Exit{0, app.help()});
  } catch (const CLI::CallForVersion&) {
    return std::unexpected(Exit{0, "ftpd " FTPD_VERSION "\n"});
  } catch (const CLI::ParseError& error) {
    return std::unexpected(
        Exit{usage_error, std::string{"ftpd: "} + error.what() + "\nTry `ftpd --help`.\n"});
  }
  return to_options(std::move(raw));
}

void apply(const Options& options, Settings& settings) {
  if (!options.listen.empty()) settings.listen.clear();
  for (const std::string& address : options.listen) settings.listen.emplace_back().address = address;
  for (ListenSettings& listen : settings.listen) {
    listen.text_reply = options.text_reply.value_or(listen.text_reply);
    listen.dialect = options.dialect.value_or(listen.dialect);
  }
  RoleSettings& local = settings.roles["local"];
  local.root = options.root.value_or(local.root);
  if (options.commands) {
    allow(local, "exec");
    allow(local, "shell");
  }
}

void apply(const Options& options, LoadedSettings& loaded) {
  apply(options, loaded.settings);
  const auto say = [&loaded](const std::string& key) { loaded.lines[key] = LoadedSettings::by_option; };
  if (!options.listen.empty()) {
    std::erase_if(loaded.lines, [](const auto& line) { return line.first.starts_with("listen["); });
    for (std::size_t i = 1; i <= options.listen.size(); ++i) say("listen[" + std::to_string(i) + "]");
  }
  for (std::size_t i = 1; i <= loaded.settings.listen.size(); ++i) {
    const std::string listen = "listen[" + std::to_string(i) + "]";
    if (options.text_reply) say(listen + ".text_reply");
    if (options.dialect) say(listen + ".dialect");
  }
  if (options.root) say("role.local.root");
}

std::expected<LoadedSettings, Problems> load_settings(const Options& options, const SettingsCheck& check) {
  std::expected<Draft, Problem> drafted = draft(options);
  if (!drafted) return std::unexpected(Problems{std::move(drafted.error())});
  apply(options, drafted->loaded);
  check_settings(drafted->loaded, drafted->problems);
  if (check) check(drafted->loaded, drafted->problems);
  return finish(std::move(*drafted));
}

}  // namespace ftpd
