// How the client's work ends: with what it was asked for, or with a Failure and its exit status.
#pragma once

#include <cstdint>
#include <expected>
#include <string>

#include "base/error.h"

namespace ftpd::client {

/// What ftpc(1) documents under EXIT STATUS. An `exec` that ran has its command's own.
inline constexpr int exit_done = 0;
inline constexpr int exit_refused = 1;
inline constexpr int exit_usage = 2;
inline constexpr int exit_interrupted = 130;  // 128 + SIGINT, as a shell has it
inline constexpr int exit_broken = 255;

/// Why something was not done.
struct Failure {
  enum class Who : std::uint8_t {
    server,      // an error reply
    local,       // a file or stream of our own
    usage,       // what was asked for makes no sense
    connection,  // no connection, it broke, or the peer speaks something else
  };
  Who who = Who::local;
  std::string text;  // for people, without "ftpc: "; the server's bytes in it are made printable

  [[nodiscard]] int exit_status() const;
};

template <class T>
using Outcome = std::expected<T, Failure>;

[[nodiscard]] inline std::unexpected<Failure> local_failure(std::string text) {
  return std::unexpected(Failure{Failure::Who::local, std::move(text)});
}
[[nodiscard]] inline std::unexpected<Failure> usage_failure(std::string text) {
  return std::unexpected(Failure{Failure::Who::usage, std::move(text)});
}
[[nodiscard]] inline std::unexpected<Failure> connection_failure(std::string text) {
  return std::unexpected(Failure{Failure::Who::connection, std::move(text)});
}
/// A system call failed on something of ours: "CONTEXT: strerror".
[[nodiscard]] inline std::unexpected<Failure> system_failure(int number, std::string_view context) {
  return local_failure(Error::from_errno(number, context).text);
}

inline int Failure::exit_status() const {
  switch (who) {
    case Who::server:
    case Who::local: return exit_refused;
    case Who::usage: return exit_usage;
    case Who::connection: return exit_broken;
  }
  return exit_refused;
}

}  // namespace ftpd::client
