// The command line of ftpc, checked.
#include "client/options.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <limits>

#include "client/outcome.h"
#include "client/text.h"

namespace ftpd::client {
namespace {

struct VerbRow {
  Verb verb;
  const char* name;
  const char* help;
  const char* operands;  // as the usage line shows them
  std::size_t least;
  std::size_t most;
};

constexpr std::size_t any = std::numeric_limits<std::size_t>::max();
constexpr std::array verbs{
    VerbRow{Verb::put, "put", "Send files; \"-\" is standard input", "LOCAL", 1, any},
    VerbRow{Verb::get, "get", "Fetch a file; LOCAL \"-\" is standard output", "REMOTE [LOCAL]", 1, 2},
    VerbRow{Verb::ls, "ls", "List a directory", "PATH", 0, 1},
    VerbRow{Verb::stat, "stat", "Describe a file or directory", "PATH", 1, 1},
    VerbRow{Verb::sum, "sum", "Print the digest of a file over there", "PATH", 1, any},
    VerbRow{Verb::rm, "rm", "Remove files", "PATH", 1, any},
    VerbRow{Verb::mv, "mv", "Give a file or directory another name", "FROM TO", 2, 2},
    VerbRow{Verb::mkdir, "mkdir", "Make a directory", "PATH", 1, any},
    VerbRow{Verb::rmdir, "rmdir", "Remove an empty directory", "PATH", 1, any},
    VerbRow{Verb::df, "df", "Tell how much room there is", nullptr, 0, 0},
    VerbRow{Verb::exec, "exec", "Run a command; its exit status is ours", "-- ARGV", 0, any},
    VerbRow{Verb::ping, "ping", "Ask for a sign of life", nullptr, 0, 0},
    VerbRow{Verb::hello, "hello", "Ask who the server is and what it offers", nullptr, 0, 0},
    VerbRow{Verb::stats, "stats", "Ask for the server's counters", nullptr, 0, 0},
    VerbRow{Verb::raw, "raw", "Standard input to the socket, the socket to standard output", nullptr, 0, 0},
};

/// "put, get, … or raw".
std::string verb_names() {
  std::string out;
  for (const VerbRow& verb : verbs) {
    if (!out.empty()) out += &verb == &verbs.back() ? " or " : ", ";
    out += verb.name;
  }
  return out;
}

const VerbRow& row(Verb verb) { return *std::ranges::find(verbs, verb, &VerbRow::verb); }

/// What CLI11 fills: its types, not ours.
struct Parsed {
  bool json = false;
  bool quiet = false;
  bool recursive = false;
  bool no_verify = false;
  bool resume = false;
  bool follow = false;
  bool md5 = false;
  bool sha256 = false;
  bool keep_existing = false;
  bool parents = false;
  bool full = false;
  bool no_input = false;
  std::string progress = "auto";
  std::string dialect;
  std::string to, cwd, timeout, shell_line;
  std::vector<std::string> environment;
  std::vector<std::string> operands;
};

// CLI11 reads "[a,b]" as a list, "{}" as an empty one and "%%" as a separator wherever several values
// may stand. File names are none of these: a mark in front keeps them whole.
constexpr char mark = '\x01';
void protect(std::string& argument) {
  if (argument.starts_with('[') || argument == "{}" || argument == "%%") argument.insert(0, 1, mark);
}
void restore(std::string& argument) {
  if (argument.starts_with(mark)) argument.erase(0, 1);
}

/// The value that `text` names, or nothing.
template <class Value, std::size_t Count>
std::optional<Value> one_of(const std::array<std::pair<std::string_view, Value>, Count>& values,
                            std::string_view text) {
  for (const auto& [known, value] : values) {
    if (text == known) return value;
  }
  return std::nullopt;
}
constexpr std::array<std::pair<std::string_view, ShowProgress>, 3> progress_values{{
    {"auto", ShowProgress::automatic},
    {"always", ShowProgress::always},
    {"never", ShowProgress::never},
}};
constexpr std::array<std::pair<std::string_view, OldDialect>, 3> dialect_values{{
    {"length", OldDialect::length},
    {"json", OldDialect::json},
    {"silent", OldDialect::silent},
}};

void add_transfer_options(CLI::App& verb, Options& options, Parsed& parsed) {
  verb.add_flag("-r,--recursive", parsed.recursive, "Directories, with all that is in them");
  verb.add_flag("--resume", parsed.resume, "Go on where a broken transfer stopped, and reconnect by itself");
  verb.add_flag("--no-verify", parsed.no_verify, "Compare no digests");
  if (options.verb == Verb::get) {
    verb.add_flag("--follow", parsed.follow, "Print what is added to it until it is removed, like tail -f");
  }
  if (options.verb == Verb::put) {
    verb.add_option("--to", parsed.to, "The name over there; of several files: the directory")
        ->option_text("NAME");
  }
}

void add_exec_options(CLI::App& verb, Parsed& parsed) {
  verb.add_option("--cwd", parsed.cwd, "Directory to run in, below the root")->option_text("PATH");
  verb.add_option("--env", parsed.environment, "Add to the environment; may be repeated")
      ->option_text("NAME=VALUE")
      ->allow_extra_args(false);
  verb.add_option("--timeout", parsed.timeout, "End it after 500ms, 30s, 5m, 2h")->option_text("T");
  verb.add_option("-s,--shell", parsed.shell_line, "Have /bin/sh run this line")->option_text("'SHELL LINE'");
  verb.add_flag("-n", parsed.no_input, "Standard input is /dev/null");
}

void add_verb_options(CLI::App& verb, Options& options, Parsed& parsed) {
  switch (options.verb) {
    case Verb::put:
    case Verb::get: add_transfer_options(verb, options, parsed); break;
    case Verb::ls:
      verb.add_flag("-l", parsed.full, "Type, mode, size and time, too");
      verb.add_flag("-r,--recursive", parsed.recursive, "All that is below");
      break;
    case Verb::sum:
      verb.add_flag("--sha256", parsed.sha256, "By SHA-256, which is the default");
      verb.add_flag("--md5", parsed.md5, "By MD5");
      break;
    case Verb::rm:
      verb.add_flag("-r,--recursive", parsed.recursive, "Directories, with all that is in them");
      break;
    case Verb::mv: verb.add_flag("-n,--no-replace", parsed.keep_existing, "Not if TO is there"); break;
    case Verb::mkdir:
      verb.add_flag("-p,--parents", parsed.parents, "Missing parents, too; it may be there");
      break;
    case Verb::exec: add_exec_options(verb, parsed); break;
    case Verb::ping:
      verb.add_option("-c", options.count, "How often")
          ->option_text("N")
          ->check(CLI::Range(1U, 1'000'000U).description(""));
      break;
    case Verb::stat:
    case Verb::rmdir:
    case Verb::df:
    case Verb::hello:
    case Verb::stats:
    case Verb::raw: break;
  }
  const VerbRow& own = row(options.verb);
  if (own.operands == nullptr) return;
  const std::string_view operands = own.operands;
  const std::size_t space = own.verb == Verb::exec ? operands.size() : operands.find(' ');
  const std::string first{operands.substr(0, space)};
  const std::string rest{space < operands.size() ? operands.substr(space + 1) : ""};
  verb.add_option(own.verb == Verb::exec ? "ARGV" : first, parsed.operands, "")
      ->option_text(own.most == any ? "..." : rest);
}

void add_global_options(CLI::App& app, Options& options, Parsed& parsed) {
  app.add_option("-a,--address", options.address,
                 "HOST:PORT, [V6]:PORT, :PORT or unix:PATH; default $FTPC_ADDRESS, then 127.0.0.1:8080")
      ->option_text("ADDRESS");
  app.add_flag("--json", parsed.json, "One JSON object for each result");
  app.add_flag("-q,--quiet", parsed.quiet, "No progress, no notes");
  app.add_option("--progress", parsed.progress, "A bar for transfers: auto (on a terminal), always, never")
      ->option_text("WHEN");
  app.add_option("--dialect", parsed.dialect, "Speak to an old server: length, json (exec) or silent (put)")
      ->option_text("WHICH");
  app.set_version_flag("--version", "ftpc " FTPD_VERSION);
  app.set_help_flag("-h,--help", "This text");
}

std::unexpected<EarlyEnd> usage(std::string_view what, std::string_view verb = {}) {
  return std::unexpected(EarlyEnd{
      exit_usage, fmt::format("ftpc: {}\nTry 'ftpc {}{}--help'.\n", what, verb, verb.empty() ? "" : " ")});
}

std::unexpected<EarlyEnd> usage(std::string_view what, const Options& options) {
  const std::string_view verb = name(options.verb);
  return usage(fmt::format("{}: {}", verb, what), verb);
}

/// What does not go together in put and get.
std::optional<std::string> transfer_complaint(const Options& options) {
  const bool streams = std::ranges::count(options.operands, "-") > 0;
  if (options.growth == Growth::followed) {
    if (options.form == Form::json) return "--follow prints the file itself: not with --json";
    if (options.depth == Depth::recursive) return "--follow is for one file: not with -r";
    if (options.begin == Begin::resume) return "--follow starts at the beginning: not with --resume";
    if (options.operands.size() > 1 && options.operands[1] != "-") {
      return "--follow writes to standard output: LOCAL can only be \"-\"";
    }
    return std::nullopt;
  }
  if (options.begin == Begin::resume) {
    if (options.depth == Depth::recursive) return "--resume is for files: not with -r";
    if (options.verify == Verify::none) return "--resume compares digests: not with --no-verify";
    if (options.dialect != OldDialect::none) return "old servers do not know --resume";
    if (streams) return "--resume needs files: \"-\" can't be read or written again";
  }
  if (options.verb == Verb::put && !options.to && streams) {
    return "standard input has no name: say --to NAME";
  }
  if (options.verb == Verb::get && options.depth == Depth::recursive && streams &&
      options.operands.back() == "-") {
    return "a tree can't go to standard output";
  }
  return std::nullopt;
}

/// What the verb's row and the dialect allow.
std::optional<std::string> complaint(const Options& options) {
  const VerbRow& own = row(options.verb);
  const std::size_t count = options.operands.size();
  if (count < own.least) {
    std::string_view missing = own.operands;
    for (std::size_t have = 0; have < count; ++have) missing.remove_prefix(missing.find(' ') + 1);
    return fmt::format("{} is missing", missing);
  }
  if (count > own.most)
    return fmt::format("'{}' is one argument too many", printable(options.operands[own.most]));
  if (options.verb == Verb::exec) {
    if (options.shell_line && count > 0) return "either -s 'SHELL LINE' or -- ARGV, not both";
    if (!options.shell_line && count == 0) return "which command? -s 'SHELL LINE' or -- ARGV";
  }
  switch (options.dialect) {
    case OldDialect::none: break;
    case OldDialect::length:
    case OldDialect::json:
      if (options.verb != Verb::exec) return "--dialect length and json are for exec";
      if (options.cwd || !options.environment.empty() || options.timeout) {
        return "old servers know neither --cwd nor --env nor --timeout";
      }
      break;
    case OldDialect::silent:
      if (options.verb != Verb::put) return "--dialect silent is for put";
      break;
  }
  if (options.verb == Verb::put || options.verb == Verb::get) return transfer_complaint(options);
  return std::nullopt;
}

/// The flags that are one thing or the other.
void take_flags(Options& options, const Parsed& parsed) {
  options.form = parsed.json ? Form::json : Form::human;
  options.talk = parsed.quiet ? Talk::quiet : Talk::normal;
  options.depth = parsed.recursive ? Depth::recursive : Depth::single;
  options.verify = parsed.no_verify ? Verify::none : Verify::by_digest;
  options.begin = parsed.resume ? Begin::resume : Begin::anew;
  options.growth = parsed.follow ? Growth::followed : Growth::ignored;
  options.detail = parsed.full ? Detail::full : Detail::names;
  options.digest = parsed.md5 ? DigestKind::md5 : DigestKind::sha256;
  options.existing = parsed.keep_existing ? Existing::kept : Existing::replaced;
  options.parents = parsed.parents ? Parents::made : Parents::expected;
  options.standard_input = parsed.no_input ? StandardInput::none : StandardInput::forwarded;
}

std::expected<Options, EarlyEnd> checked(Options options, Parsed& parsed, const CLI::App& verb) {
  const auto given = [&verb](const char* option) {
    const CLI::Option* const found = verb.get_option_no_throw(option);
    return found != nullptr && found->count() > 0;
  };
  take_flags(options, parsed);
  if (parsed.md5 && parsed.sha256) return usage("either --md5 or --sha256, not both", options);
  options.operands = std::move(parsed.operands);
  const auto progress = one_of(progress_values, parsed.progress);
  if (!progress) return usage("--progress: auto, always or never", options);
  options.progress = *progress;
  if (!parsed.dialect.empty()) {
    const auto dialect = one_of(dialect_values, parsed.dialect);
    if (!dialect) return usage("--dialect: length, json or silent", options);
    options.dialect = *dialect;
  }
  if (given("--to")) options.to = parsed.to;
  if (given("--cwd")) options.cwd = parsed.cwd;
  if (given("-s")) options.shell_line = parsed.shell_line;
  if (given("--timeout")) {
    options.timeout = parse_span(parsed.timeout);
    if (!options.timeout) return usage("--timeout: 500ms, 30s, 5m or 2h, more than nothing", options);
  }
  for (const std::string& pair : parsed.environment) {
    const std::size_t equals = pair.find('=');
    if (equals == 0 || equals == std::string::npos) {
      return usage(fmt::format("--env: '{}' is no NAME=VALUE", printable(pair)), options);
    }
    options.environment.emplace_back(pair.substr(0, equals), pair.substr(equals + 1));
  }
  if (options.to && options.to->empty()) return usage("--to: an empty name", options);
  if (const auto what = complaint(options)) return usage(*what, options);
  return options;
}

}  // namespace

std::string_view name(Verb verb) { return row(verb).name; }

std::expected<Options, EarlyEnd> parse_options(std::vector<std::string> arguments, const char* address) {
  // What stands behind "--" is nobody's option and goes past CLI11, which would read meaning into it.
  const auto dashes = std::ranges::find(arguments, "--");
  const bool has_dashes = dashes != arguments.end();
  const std::vector<std::string> literal(has_dashes ? dashes + 1 : dashes, arguments.end());
  arguments.erase(dashes, arguments.end());

  Options options;
  if (address != nullptr && *address != '\0') options.address = address;
  Parsed parsed;
  CLI::App app{"Sends files to an ftpd, fetches them, and runs commands there.", "ftpc"};
  app.require_subcommand(0, 1);
  add_global_options(app, options, parsed);
  std::array<CLI::App*, verbs.size()> apps{};
  for (std::size_t i = 0; i < verbs.size(); ++i) {
    apps[i] = app.add_subcommand(verbs[i].name, verbs[i].help)->fallthrough();
    options.verb = verbs[i].verb;
    add_verb_options(*apps[i], options, parsed);
  }
  const auto chosen = [&] {
    return std::ranges::find_if(apps, [](CLI::App* verb) { return verb->parsed(); });
  };
  try {
    std::ranges::for_each(arguments, protect);
    std::ranges::reverse(arguments);  // as CLI11 wants them
    app.parse(std::move(arguments));
  } catch (const CLI::CallForHelp&) {
    return std::unexpected(EarlyEnd{exit_done, chosen() == apps.end() ? app.help() : (*chosen())->help()});
  } catch (const CLI::CallForVersion&) {
    return std::unexpected(EarlyEnd{exit_done, "ftpc " FTPD_VERSION "\n"});
  } catch (const CLI::ParseError& error) {
    std::string what = error.what();
    std::erase(what, mark);
    const bool no_verb = chosen() == apps.end();
    const std::vector<std::string> left = app.remaining();
    if (no_verb && !left.empty() && !left.front().starts_with('-')) {
      return usage(fmt::format("'{}' is no verb of this version: {}", printable(left.front()), verb_names()));
    }
    return usage(what, no_verb ? "" : (*chosen())->get_name());
  }
  if (chosen() == apps.end()) {
    return usage(fmt::format("which verb? {}", verb_names()));
  }
  options.verb = verbs[static_cast<std::size_t>(chosen() - apps.begin())].verb;
  for (std::string* text : {&options.address, &parsed.to, &parsed.cwd, &parsed.timeout, &parsed.shell_line}) {
    restore(*text);
  }
  std::ranges::for_each(parsed.environment, restore);
  std::ranges::for_each(parsed.operands, restore);
  if (options.verb == Verb::exec && !parsed.operands.empty() && has_dashes) {
    parsed.operands.emplace_back("--");  // it belongs to the command
  }
  parsed.operands.insert(parsed.operands.end(), literal.begin(), literal.end());
  return checked(std::move(options), parsed, **chosen());
}

}  // namespace ftpd::client
