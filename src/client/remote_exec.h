// The request of `exec`, and what its last frame says.
#pragma once

#include <string>

#include "client/options.h"
#include "client/outcome.h"
#include "ftpd/message.h"

namespace ftpd::client {

enum class Input : std::uint8_t { none, frames };

/// All output in one reply when the command has ended. Standard input follows in frames of its own.
[[nodiscard]] std::string exec_request(const Options& options, Input input);

/// The command's own status, 128+N for signal N, 137 for `out_of_memory`; a refusal or a command that
/// was ended (`timeout`, `cancelled`, `shutdown`) is exit_refused.
[[nodiscard]] Outcome<int> exec_status(const Header& last);

}  // namespace ftpd::client
