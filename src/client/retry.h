// When a broken transfer is tried again: what both directions of --resume share.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/clock.h"
#include "client/outcome.h"
#include "client/refusal.h"
#include "client/verbs.h"

namespace ftpd::client {

/// Waits that double, as long as nothing moves on. Pure.
class RetrySchedule {
 public:
  static constexpr unsigned most_tries = 5;

  /// The transfer stands at `position`: where that is further than ever, the tries are counted anew.
  void reached(std::uint64_t position);
  /// How long to wait before the next try; nothing: enough is enough.
  [[nodiscard]] std::optional<std::chrono::milliseconds> next();

 private:
  std::uint64_t furthest_ = 0;
  unsigned tries_ = 0;
};

/// Why a transfer did not come to its end this time.
struct Setback {
  Failure failure;
  std::string reply;  // the server's own words, where it refused
  enum class Cure : std::uint8_t { none, retry } cure = Cure::none;
};

/// A refusal that has to do with the moment (busy, shutting_down, timeout) is worth another try.
[[nodiscard]] Setback setback(const Refusal& refusal, std::string reply);
/// A broken connection is; what went wrong here is not.
[[nodiscard]] Setback setback(Failure failure);

/// Says that the transfer is tried again, and waits before. False: it is not.
[[nodiscard]] bool wait_to_retry(const Session& session, const std::string& subject, RetrySchedule& schedule,
                                 const Setback& why);

}  // namespace ftpd::client
