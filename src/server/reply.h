// Building replies: what every answer has in common. See ftpd-protocol(7), "Replies".
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/error.h"
#include "ftpd/json_write.h"
#include "ftpd/message.h"
#include "ftpd/status.h"

namespace ftpd {

/// A refusal or a failure, ready to become a reply.
struct Failure {
  Status status = Status::io_error;
  std::string message;
  int number = 0;                                    // errno, 0 for none
  std::optional<std::uint64_t> need = std::nullopt;  // bytes, with no_space and quota_exceeded
  std::optional<std::uint64_t> free = std::nullopt;
  std::optional<std::uint64_t> offset = std::nullopt;          // bytes held, with offset_mismatch
  std::optional<std::uint64_t> retry_after_ms = std::nullopt;  // with busy
};

/// The one place where an Error becomes a wire status.
[[nodiscard]] Status status_of(const Error& error);
[[nodiscard]] Failure failure_of(const Error& error);

[[nodiscard]] inline Failure bad_request(std::string message) {
  return {.status = Status::bad_request, .message = std::move(message)};
}

/// Starts the header of a success: `{"ok":true,"id":…`.
[[nodiscard]] JsonObject begin_reply(const RequestId& id);

/// A whole success frame without fields of its own, or closing those of `reply`, `data_size` last.
[[nodiscard]] std::string finish_reply(JsonObject reply, std::uint64_t data_size = 0);

/// A whole failure frame.
[[nodiscard]] std::string failure_reply(const RequestId& id, const Failure& failure);

/// Adds `ok`, `error`, `message`, `errno`, `retry` and what else the failure has.
void add_failure(JsonObject& reply, const Failure& failure);

/// What the text dialect's user sees: `ftpd: CODE: TEXT`, one line.
[[nodiscard]] std::string failure_line(const Failure& failure);

}  // namespace ftpd
