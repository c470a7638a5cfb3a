// When a broken transfer is tried again.
#include "client/retry.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/sys.h"

namespace ftpd::client {
namespace {

constexpr std::chrono::milliseconds first_wait{200};
constexpr std::chrono::milliseconds longest_wait{5000};

void sleep_until(TimePoint deadline) {
  for (TimePoint now = Clock::now(); now < deadline; now = Clock::now()) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - now).count();
    (void)sys::poll(nullptr, 0, static_cast<int>(left));
  }
}

}  // namespace

void RetrySchedule::reached(std::uint64_t position) {
  if (position <= furthest_) return;
  furthest_ = position;
  tries_ = 0;
}

std::optional<std::chrono::milliseconds> RetrySchedule::next() {
  if (tries_ == most_tries) return std::nullopt;
  return std::min(first_wait * (1 << tries_++), longest_wait);
}

Setback setback(const Refusal& refusal, std::string reply) {
  const bool passing = refusal.code == "busy" || refusal.code == "shutting_down" || refusal.code == "timeout";
  return {refusal.failure(), std::move(reply), passing ? Setback::Cure::retry : Setback::Cure::none};
}

Setback setback(Failure failure) {
  const bool broken = failure.who == Failure::Who::connection;
  return {std::move(failure), {}, broken ? Setback::Cure::retry : Setback::Cure::none};
}

bool wait_to_retry(const Session& session, const std::string& subject, RetrySchedule& schedule,
                   const Setback& why) {
  if (why.cure == Setback::Cure::none) return false;
  const auto wait = schedule.next();
  if (!wait) return false;
  session.report.note(subject, fmt::format("{}; trying again in {:.1f} s", why.failure.text,
                                           std::chrono::duration<double>(*wait).count()));
  sleep_until(Clock::now() + *wait);
  return true;
}

}  // namespace ftpd::client
