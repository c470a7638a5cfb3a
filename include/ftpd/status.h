// The error codes of a reply: `"error":"no_space"`. See ftpd-protocol(7), "Errors".
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace ftpd {

enum class Status : std::uint8_t {
  bad_frame,          // framing broken; the connection is closed
  bad_request,        // a field is missing, of the wrong type, or has an invalid value
  unknown_command,    // no such `cmd`
  unsupported,        // known, but not built or enabled here
  auth_required,      // who are you?
  auth_failed,        // that is not who you are
  denied,             // known who, not allowed
  not_found,          // file system
  exists,             //
  is_directory,       //
  not_directory,      //
  not_empty,          //
  too_large,          // limits
  quota_exceeded,     //
  no_space,           //
  checksum_mismatch,  // what arrived has another digest than announced; nothing is stored
  offset_mismatch,    // a resume offset differs from what is held
  busy,               // a limit on concurrency; `retry_after_ms`
  timeout,            // took too long
  aborted,            // called off
  io_error,           // the system failed; see `errno`
  shutting_down,      // the daemon drains; the connection is closed after the reply
};

/// The code on the wire, "bad_frame".
[[nodiscard]] std::string_view name(Status status);

/// Nothing for a code that is not in the table: a newer daemon may have more.
[[nodiscard]] std::optional<Status> status_from_name(std::string_view name);

/// What `retry` says unless the operation knows better: may the same request work later?
[[nodiscard]] bool retry_may_help(Status status);

}  // namespace ftpd
