// From what a client asks for to a command that can be started, for both dialects.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "server/command_run.h"
#include "server/operation.h"

namespace ftpd {

/// A role's environment of commands with the client's additions.
[[nodiscard]] std::vector<std::string> environment_of(const Role& role,
                                                      std::vector<std::pair<std::string, std::string>> added);

/// `line` as the shell runs it.
[[nodiscard]] std::vector<std::string> shell_argv(std::string_view line);

/// A role's `runner`, if it has one, in front of the command.
[[nodiscard]] std::vector<std::string> with_runner(const Role& role, std::vector<std::string> argv);

/// The shorter of what was asked and what the role allows; zero for none.
[[nodiscard]] Duration run_timeout(const Role& role, std::optional<std::uint64_t> asked_ms);

/// One line a command, how it ended: the audit.
void log_command(const Address& peer, std::string_view what, const RunEnd& end);

}  // namespace ftpd
