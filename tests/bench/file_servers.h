// Other people's file servers, each with a configuration of its own in a scratch directory, on a free
// loopback port, stopped with the object. None of them reads or changes what the system has configured.
#pragma once

#include <filesystem>
#include <optional>

#include "peers.h"

namespace bench {

/// Where a file server works: `files` is what it serves, `scratch` holds its configuration, keys and logs.
struct Place {
  std::filesystem::path files;
  std::filesystem::path scratch;
};

/// All of these return none when the program is not installed.

/// nginx with its WebDAV module: PUT below /.
std::optional<Server> start_nginx(const Place& place);
/// vsftpd for anonymous uploads.
std::optional<Server> start_vsftpd(const Place& place);
/// rsync as a daemon with the module "files".
std::optional<Server> start_rsync(const Place& place);
/// sshd for sftp alone, with keys made for it: scratch/user is the client's, scratch/known_hosts has the
/// server's.
std::optional<Server> start_sshd(const Place& place);

}  // namespace bench
