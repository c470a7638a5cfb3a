// Time as absolute deadlines on the monotonic clock (clock_gettime(2), CLOCK_MONOTONIC).
#pragma once

#include <chrono>

namespace ftpd {

using Clock = std::chrono::steady_clock;
using TimePoint = Clock::time_point;
using Duration = Clock::duration;

/// A deadline that never comes.
inline constexpr TimePoint never = TimePoint::max();

/// `now + span` without overflow; a span of zero means "no limit" and gives `never`.
[[nodiscard]] inline TimePoint deadline_after(TimePoint now, Duration span) {
  if (span == Duration::zero() || span >= never - now) return never;
  return now + span;
}

}  // namespace ftpd
