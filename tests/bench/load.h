// The load generators: the same code drives ftpd and whatever it is measured against.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <string_view>

#include "bench.h"

namespace bench {

/// 4 MiB without a pattern that a short write could hide in; transfers repeat it.
std::span<const char> content();

/// Called with the size of every piece that went through.
using Progress = std::function<void(std::size_t)>;

/// One `put` of `size` bytes on a connection, up to its reply.
void put(int socket, std::string_view filename, std::uint64_t size, const Progress& progress = {});
/// The same with a header of the caller's, which says `size`, too.
void put_with(int socket, std::string_view header, std::uint64_t size, const Progress& progress = {});

enum class Verify { count, content };

/// Receives a body of exactly `size` bytes. `expected` repeats; it is compared only with Verify::content.
struct Body {
  std::uint64_t size;
  std::span<const char> expected;
};
void receive_body(int socket, const Body& body, Verify verify, const Progress& progress = {});

std::string get_request(std::string_view filename);
std::string head_request(std::uint64_t size);  ///< `exec` of head -c SIZE /dev/zero
std::string true_request();                    ///< `exec` of /bin/true
std::string ping_request();

/// Runs `job(socket, index)` on `connections` connections made beforehand, one thread each, all let go at
/// once; returns the seconds until the last one is done.
double run_at_once(std::uint16_t port, int connections, const std::function<void(int, int)>& job);

/// Requests of one kind that are sent over and over.
struct Exchange {
  std::string request;
  /// The size of the one reply at the front of what was received, 0 when it is not complete; throws when
  /// it is not the right one.
  std::function<std::size_t(std::string_view)> reply_size;
};

/// Asks once to learn the reply of a ping, length and header; what is sent over and over must get the same.
std::string learn_ping_reply(std::uint16_t port);
Exchange ping_exchange(std::uint16_t port);
Exchange redis_ping_exchange();
Exchange true_exchange();

struct Load {
  int connections;
  int depth;  ///< requests sent in one piece; the next ones follow when all are answered
  milliseconds window;
};

/// One thread with one epoll drives all connections for the window; returns replies each second.
double exchange_rate(std::uint16_t port, const Exchange& exchange, const Load& load);

}  // namespace bench
