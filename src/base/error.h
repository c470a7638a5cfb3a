// What went wrong, as every layer below the server says it.
//
// errno becomes an Error here and nowhere else; an Error becomes a wire status in
// server/reply_error.cpp and nowhere else.
#pragma once

#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>

namespace ftpd {

enum class Reason : std::uint8_t {
  invalid,        // the caller's value can't be used
  not_found,      //
  exists,         //
  is_directory,   //
  not_directory,  //
  not_empty,      //
  denied,         // permissions, a symbolic link on the way, a special file
  too_large,      // over a limit of ours
  quota,          // over a quota
  checksum,       // what arrived has another digest than announced
  offset,         // a resume offset differs from what is held; see `offset`
  no_space,       // the file system is full
  busy,           // a limit on concurrency; later may work
  timeout,        //
  aborted,        // called off
  unsupported,    // not built or not enabled here
  system,         // anything else that the kernel said; see `number`
};

struct Error {
  Reason reason = Reason::system;
  int number = 0;    // errno, or 0 where the system was not asked
  std::string text;  // for people: what failed and on what; no trailing period
  std::optional<std::uint64_t> need = std::nullopt;    // bytes, with no_space and quota
  std::optional<std::uint64_t> free = std::nullopt;    // bytes, likewise
  std::optional<std::uint64_t> offset = std::nullopt;  // bytes held, with Reason::offset

  [[nodiscard]] static Error of(Reason reason, std::string text) { return {reason, 0, std::move(text)}; }

  /// Classifies `number` (an errno value); the text becomes "CONTEXT: strerror".
  [[nodiscard]] static Error from_errno(int number, std::string_view context);
};

/// "ENOSPC" for ENOSPC; "" for 0 or a number without a name.
[[nodiscard]] std::string_view errno_name(int number);

template <class T>
using Result = std::expected<T, Error>;

[[nodiscard]] inline std::unexpected<Error> fail(Reason reason, std::string text) {
  return std::unexpected(Error::of(reason, std::move(text)));
}
[[nodiscard]] inline std::unexpected<Error> fail_errno(int number, std::string_view context) {
  return std::unexpected(Error::from_errno(number, context));
}

}  // namespace ftpd
