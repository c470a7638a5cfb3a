// From what a client asks for to a command that can be started.
#include "server/command_request.h"

#include "base/log.h"

namespace ftpd {

std::vector<std::string> environment_of(const Role& role,
                                        std::vector<std::pair<std::string, std::string>> added) {
  std::vector<std::pair<std::string, std::string>> all(role.settings.env.begin(), role.settings.env.end());
  all.insert(all.end(), std::make_move_iterator(added.begin()), std::make_move_iterator(added.end()));
  return command_environment(all);
}

std::vector<std::string> shell_argv(std::string_view line) { return {"/bin/sh", "-c", std::string(line)}; }

std::vector<std::string> with_runner(const Role& role, std::vector<std::string> argv) {
  argv.insert(argv.begin(), role.settings.runner.begin(), role.settings.runner.end());
  return argv;
}

Duration run_timeout(const Role& role, std::optional<std::uint64_t> asked_ms) {
  const Duration most = role.settings.exec_timeout;
  if (!asked_ms || *asked_ms == 0) return most;
  constexpr std::uint64_t year_ms = 365ULL * 24 * 3600 * 1000;
  const Duration asked = std::chrono::milliseconds{std::min(*asked_ms, year_ms)};
  return most == Duration::zero() ? asked : std::min(asked, most);
}

void log_command(const Address& peer, std::string_view what, const RunEnd& end) {
  if (!log::enabled(log::Level::info)) return;
  constexpr std::size_t longest = 256;
  log::write(log::Level::info, "command",
             {{"peer", peer.text()},
              {"command", what.substr(0, longest)},
              {"reason", name(end.reason)},
              {"value", end.value},
              {"duration_ms", end.duration_ms}});
}

}  // namespace ftpd
