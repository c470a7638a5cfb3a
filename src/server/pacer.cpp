// The rate of a role.
#include "server/pacer.h"

#include <algorithm>
#include <cmath>

namespace ftpd {
namespace {

// Within a longer wait, a claim looks halfway whether others have left.
constexpr Duration short_wait = std::chrono::milliseconds{50};

constexpr double largest_grant = 1U << 30U;

}  // namespace

// --- a claim

std::size_t Pacer::Claim::allowance(TimePoint now) {
  if (granted_ == 0) pacer_->ask(*this, now);
  return granted_;
}

void Pacer::Claim::spend(std::size_t count) {
  granted_ -= static_cast<std::uint32_t>(std::min<std::size_t>(count, granted_));
  used_ += static_cast<double>(count);
}

void Pacer::Claim::leave() {
  if (active_) pacer_->take_back(*this);
}

// --- what they share

void Pacer::ask(Claim& claim, TimePoint now) {
  const std::lock_guard lock(mutex_);
  bring_in(now);
  if (claim.active_) {
    claim.ahead_ = false;
  } else {
    join(claim, now);
  }
  const double most = std::max(burst_bytes(), 2 * quantum());
  double credit = level_ - claim.used_;
  if (credit > most) {
    spare_ += credit - most;
    claim.used_ = level_ - most;
    credit = most;
  }
  const double enough = quantum();
  if (claim.ahead_ || credit >= enough) {
    claim.granted_ = static_cast<std::uint32_t>(std::min(credit, largest_grant));
    claim.again_ = never;
    return;
  }
  const Duration wait = time_of((enough - credit) * active_);
  claim.again_ = now + (wait > short_wait ? wait / 2 : wait);
}

void Pacer::join(Claim& claim, TimePoint now) {
  claim.active_ = true;
  claim.used_ = level_;
  if (++active_ == 1 && spare_ > 0) claim.used_ -= std::exchange(spare_, 0);
  const bool first = std::exchange(claim.fresh_, false);
  if (!first || level_ - claim.used_ >= first_bytes || !may_go_ahead(now)) return;
  claim.ahead_ = true;
  claim.used_ -= first_bytes;
  spare_ -= first_bytes;
}

bool Pacer::may_go_ahead(TimePoint now) {
  const Duration saved_up = time_of(burst_bytes());
  ahead_end_ = std::max(ahead_end_, now - saved_up);
  if (ahead_end_ > now) return false;
  ahead_end_ += time_of(part_ahead * double{first_bytes});
  return true;
}

void Pacer::take_back(Claim& claim) {
  const std::lock_guard lock(mutex_);
  const double unused = level_ - claim.used_;
  spare_ += unused;
  if (claim.ahead_) ahead_end_ -= time_of(part_ahead * std::clamp(unused, 0.0, double{first_bytes}));
  if (--active_ == 0) {
    spare_ = std::min(spare_, burst_bytes());
    level_ = 0;
  }
  claim.active_ = claim.ahead_ = false;
  claim.granted_ = 0;
  claim.again_ = never;
}

void Pacer::bring_in(TimePoint now) {
  if (brought_in_ == TimePoint::min()) {
    brought_in_ = now;
    spare_ = burst_bytes();
  }
  // Loops do not agree on the time to the last microsecond.
  if (now > brought_in_) spare_ += in(now - std::exchange(brought_in_, now));
  if (active_ == 0) {
    spare_ = std::min(spare_, burst_bytes());
  } else if (spare_ > 0) {
    level_ += std::exchange(spare_, 0) / active_;
  }
}

double Pacer::in(Duration span) const { return rate_ * std::chrono::duration<double>(span).count(); }

Duration Pacer::time_of(double bytes) const {
  return std::chrono::nanoseconds{static_cast<std::int64_t>(std::ceil(bytes / rate_ * std::nano::den))};
}

double Pacer::burst_bytes() const { return std::max(in(burst), smallest_burst); }

double Pacer::quantum() const {
  return std::clamp(in(round) / std::max(active_, 1.0), smallest_quantum, largest_quantum);
}

}  // namespace ftpd
