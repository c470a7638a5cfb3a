// What to run, as the spawner takes it.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/unique_fd.h"

namespace ftpd {

/// A command, ready to start: nothing in it is looked up or decided any more. Owned by whoever
/// prepares it, then by the spawner.
struct Command {
  std::vector<std::string> argv;         // at least one; [0] is searched in PATH where it has no '/'
  std::vector<std::string> environment;  // "NAME=value"; all that the command gets, but for the mark
  UniqueFd directory;                    // O_PATH: the working directory
  bool standard_input = false;           // a pipe; else /dev/null
  bool merge = false;                    // stderr goes where stdout goes, in order
};

/// The environment that every command starts from: PATH, LANG, HOME, USER, SHELL and TZ of the
/// daemon's own, where set (PATH has a default), then `added` in order, later ones replacing.
[[nodiscard]] std::vector<std::string> command_environment(
    const std::vector<std::pair<std::string, std::string>>& added);

/// How a command ended (waitid(2)).
struct ExitStatus {
  bool signalled = false;
  int value = 0;  // exit status 0–255, or the signal's number
};

/// "SIGSEGV" for 11; "SIGRTMIN+3" and the like for real-time signals.
[[nodiscard]] std::string signal_name(int number);

}  // namespace ftpd
