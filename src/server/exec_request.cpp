// What an exec asks for. See ftpd-protocol(7), "Commands".
#include "server/exec_request.h"

#include "server/named_command.h"

namespace ftpd {
namespace {

bool has_nul(std::string_view text) { return text.find('\0') != std::string_view::npos; }

Read<std::vector<std::string>> copied(std::string_view key, const std::vector<std::string_view>& words) {
  std::vector<std::string> copies;
  for (const std::string_view word : words) {
    if (has_nul(word)) {
      return std::unexpected(bad_request(fmt::format("{}: holds a NUL, which no argument can", key)));
    }
    copies.emplace_back(word);
  }
  return copies;
}

/// The template of a command that the settings name, filled.
Read<std::vector<std::string>> read_named(const Header& header, std::string_view name,
                                          const Settings& settings) {
  auto args = optional_field(header.strings("args"));
  if (!args) return std::unexpected(std::move(args.error()));
  auto arguments = copied("args", args->value_or(std::vector<std::string_view>{}));
  if (!arguments) return arguments;
  // It would get round the template: LD_PRELOAD alone runs anything.
  if (header.has("env")) {
    return std::unexpected(bad_request("env: not with name; the settings say what a named command gets"));
  }
  const auto command = settings.commands.find(std::string(name));
  if (command == settings.commands.end()) {
    return std::unexpected(
        Failure{.status = Status::not_found, .message = fmt::format("there is no command \"{}\"", name)});
  }
  auto filled = fill_template(command->second.argv, *arguments);
  if (!filled) return std::unexpected(bad_request(std::move(filled.error())));
  return std::move(*filled);
}

Read<std::vector<std::string>> read_argv(const Header& header, const Settings& settings) {
  auto command = optional_field(header.string("command"));
  if (!command) return std::unexpected(std::move(command.error()));
  auto argv = optional_field(header.strings("argv"));
  if (!argv) return std::unexpected(std::move(argv.error()));
  auto name = optional_field(header.string("name"));
  if (!name) return std::unexpected(std::move(name.error()));
  if (int{command->has_value()} + int{argv->has_value()} + int{name->has_value()} != 1) {
    return std::unexpected(
        bad_request("exec takes one of command (a shell's line), argv (an array of strings) and name (of a "
                    "command that the settings have)"));
  }
  if (*name) return read_named(header, **name, settings);
  if (*command) {
    if (has_nul(**command))
      return std::unexpected(bad_request("command: holds a NUL, which no argument can"));
    return shell_argv(**command);
  }
  auto words = copied("argv", **argv);
  if (words && (words->empty() || words->front().empty())) {
    return std::unexpected(bad_request("argv: must have the program as its first string"));
  }
  return words;
}

Read<std::vector<std::pair<std::string, std::string>>> read_environment(const Header& header) {
  std::vector<std::pair<std::string, std::string>> added;
  auto env = optional_field(header.string_map("env"));
  if (!env) return std::unexpected(env.error());
  if (!*env) return added;
  for (const auto& [key, value] : **env) {
    if (key.empty() || key.find('=') != std::string_view::npos || has_nul(key) || has_nul(value)) {
      return std::unexpected(
          bad_request("env: names must not be empty or hold '=', and nothing may hold a NUL"));
    }
    added.emplace_back(key, value);
  }
  return added;
}

}  // namespace

Read<ExecRequest> read_exec(const Request& request, const Host& host) {
  const Header& header = request.header;
  const Role& role = *host.caller().role;
  if (auto fine = refuse_unbuilt(header, {"pty"}); !fine) return std::unexpected(fine.error());
  auto stream = optional_field(header.boolean("stream"));
  if (!stream) return std::unexpected(stream.error());
  ExecRequest exec;
  if (stream->value_or(false)) exec.output = CommandRun::Output::live;
  auto argv = read_argv(header, *host.services().settings);
  if (!argv) return std::unexpected(argv.error());
  exec.argv = with_runner(role, std::move(*argv));
  auto added = read_environment(header);
  if (!added) return std::unexpected(added.error());
  exec.environment = environment_of(role, std::move(*added));
  if (header.has("cwd")) {
    auto cwd = path_field(header, "cwd", RootIs::allowed);
    if (!cwd) return std::unexpected(cwd.error());
    exec.directory = std::move(*cwd);
  }
  auto timeout = optional_field(header.size("timeout_ms"));
  if (!timeout) return std::unexpected(timeout.error());
  exec.timeout = run_timeout(role, *timeout);
  auto merge = optional_field(header.boolean("merge"));
  if (!merge) return std::unexpected(merge.error());
  exec.merge = merge->value_or(false);
  auto on_eof = optional_field(header.string("on_eof"));
  if (!on_eof) return std::unexpected(on_eof.error());
  if (*on_eof && **on_eof != "finish" && **on_eof != "kill") {
    return std::unexpected(bad_request("on_eof: must be \"finish\" or \"kill\""));
  }
  exec.on_eof = *on_eof && **on_eof == "kill" ? OnEnd::kill : OnEnd::finish;
  exec.has_input = request.frame.body_size > 0 || request.frame.more;
  return exec;
}

}  // namespace ftpd
