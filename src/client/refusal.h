// An error reply, kept.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "client/outcome.h"
#include "ftpd/message.h"

namespace ftpd::client {

struct Refusal {
  std::string code;
  std::string message;
  std::string error_name;  // "ENOSPC", or empty
  std::optional<std::uint64_t> need;
  std::optional<std::uint64_t> free;
  std::optional<std::uint64_t> retry_after_ms;

  /// `no_space: TEXT (ENOSPC, need 100, free 7)`, printable.
  [[nodiscard]] std::string text() const;
  [[nodiscard]] Failure failure() const { return {Failure::Who::server, text()}; }

  /// Nothing for a success. A header that is no reply at all is Who::connection.
  [[nodiscard]] static Outcome<std::optional<Refusal>> from(const Header& header);
};

}  // namespace ftpd::client
