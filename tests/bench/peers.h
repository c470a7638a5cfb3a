// What ftpd is measured against: the least code that does the same job, and redis.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "bench.h"

namespace bench {

/// A server in a process of its own, stopped with this object.
struct Server {
  Process process;
  std::uint16_t port;
};

/// The minimal loop that file transfers and command output are measured against. It takes the same frames as
/// ftpd (`put`, `get`, `exec` by argv, `ping`), so one client drives both, and trusts them blindly.
///
/// Fair because it moves the bytes as a programmer would who wants nothing but speed, and leaves out
/// everything else: one blocking thread for each connection, accepted ahead of the measurement;
///  - `put`: splice socket -> pipe of 1 MiB -> file, no temporary name, no flush;
///    with a `sha256`: recv, hash, write;
///  - `get`: sendfile from the opened file to the socket in the largest pieces the kernel takes;
///  - `exec`: posix_spawn, splice its output -> memfd, wait for it, then header and sendfile.
/// No JSON parser, no event loop, no limits, no time-outs, no verification.
Server start_minimal_server(const std::filesystem::path& root);

/// Sends back what it gets: one thread, one epoll, read and write, nothing else. What remains of a ping when
/// the server's own work is taken away: the network stack and the wait for a processor.
Server start_echo_server();

/// redis-server with persistence off on a free loopback port; none when it is not installed.
std::optional<Server> start_redis(const std::filesystem::path& directory);

/// Runs /bin/true over and over for `window`, `in_flight` at once, in a process of its own, and returns the
/// commands completed each second. For each: two pipes, posix_spawn with standard input from /dev/null,
/// read both to their end, waitpid. That is what any server must do for a command whose output it returns;
/// no connection, request, session, descendants or time-outs. One thread, so that spawning takes its turns.
double spawn_rate(int in_flight, milliseconds window);

}  // namespace bench
