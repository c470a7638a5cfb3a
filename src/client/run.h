// From options to an exit status: all that main() has to call.
#pragma once

#include "client/options.h"

namespace ftpd::client {

/// Does what the options say, with standard input, output and error. SIGPIPE has to be ignored.
[[nodiscard]] int run(const Options& options);

}  // namespace ftpd::client
