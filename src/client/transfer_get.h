// What the ways of `get` share.
#pragma once

#include <string>
#include <vector>

#include "client/connection.h"
#include "client/target.h"
#include "client/verbs.h"
#include "ftpd/json_write.h"

namespace ftpd::client {

/// The beginning of a request for a file.
[[nodiscard]] JsonObject get_request(const std::string& remote);
/// The mode and the time that a reply tells.
[[nodiscard]] Attributes attributes_of(const Header& header);
/// LOCAL, or REMOTE's last component; inside LOCAL where that is a directory.
[[nodiscard]] std::string local_path(const std::vector<std::string>& operands);
/// A file as a whole, to `local`. What goes wrong is reported.
[[nodiscard]] Outcome<void> get_file(const Session& session, Connection& connection,
                                     const std::string& local);

}  // namespace ftpd::client
