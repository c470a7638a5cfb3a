// The ledger: what is reserved, what is used, and the count of the tree that puts it right.
#include "store/quota.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "store/tree_size.h"

namespace ftpd {
namespace {

/// One part in so many of the time goes into counting, at most.
constexpr int share_of_counting = 20;

/// What others have added meanwhile is noticed this late, or later where counting takes long.
constexpr Duration trusted_for = std::chrono::seconds{1};

std::uint64_t sum(std::uint64_t a, std::uint64_t b) { return a > UINT64_MAX - b ? UINT64_MAX : a + b; }
std::uint64_t less(std::uint64_t from, std::uint64_t amount) { return from - std::min(from, amount); }

Error refusal(std::uint64_t need, std::uint64_t free, std::uint64_t limit) {
  Error error = Error::of(
      Reason::quota,
      fmt::format("over the quota of {} bytes: {} bytes are needed, {} are free", limit, need, free));
  error.need = need;
  error.free = free;
  return error;
}

}  // namespace

// --- a reservation --------------------------------------------------------------------------------
Quota::Reservation::Reservation(Reservation&& other) noexcept
    : quota_(std::move(other.quota_)),
      bytes_(std::exchange(other.bytes_, 0)),
      credit_(std::exchange(other.credit_, 0)),
      covered_(std::exchange(other.covered_, std::nullopt)) {}

Quota::Reservation& Quota::Reservation::operator=(Reservation&& other) noexcept {
  if (this != &other) {
    release();
    quota_ = std::move(other.quota_);
    bytes_ = std::exchange(other.bytes_, 0);
    credit_ = std::exchange(other.credit_, 0);
    covered_ = std::exchange(other.covered_, std::nullopt);
  }
  return *this;
}

Result<void> Quota::Reservation::change(std::uint64_t bytes, std::uint64_t credit) {
  std::unique_lock lock(quota_->mutex_);
  const std::uint64_t before = net();
  const std::uint64_t wanted = less(bytes, credit);
  if (wanted > before) {
    const std::uint64_t more = wanted - before;
    const bool old = Clock::now() - quota_->counted_at_ >= trusted_for;
    if (!quota_->counted_ || old || !quota_->has_room(more)) {
      if (auto counted = quota_->count_if_stale(lock); !counted) return counted;
    }
    if (!quota_->has_room(more)) {
      const std::uint64_t others = sum(quota_->used_, less(quota_->reserved_, before));
      return std::unexpected(refusal(bytes, sum(less(quota_->limit_, others), credit), quota_->limit_));
    }
  }
  quota_->reserved_ = less(quota_->reserved_, before) + wanted;
  bytes_ = bytes;
  credit_ = credit;
  return {};
}

Result<void> Quota::Reservation::grow(std::uint64_t bytes) {
  if (quota_ == nullptr) return {};
  return change(sum(bytes_, bytes), credit_);
}

Result<void> Quota::Reservation::replaces(std::uint64_t bytes) {
  if (quota_ == nullptr || bytes == credit_) return {};
  return change(bytes_, bytes);
}

void Quota::Reservation::trim(std::uint64_t bytes) {
  if (quota_ == nullptr || bytes >= bytes_) return;
  static_cast<void>(change(bytes, credit_));  // less is never refused
}

void Quota::Reservation::covers(ino_t file, std::uint64_t size) {
  if (quota_ == nullptr) return;
  const std::lock_guard lock(quota_->mutex_);
  quota_->covered_[file] = size;
  covered_ = Covered{file, size};
}

void Quota::Reservation::uncover(std::uint64_t size) {
  if (!covered_) return;
  quota_->used_ = sum(less(quota_->used_, covered_->size), size);
  quota_->covered_.erase(covered_->file);
  covered_.reset();
}

void Quota::Reservation::settle(std::uint64_t replaced) {
  if (quota_ == nullptr) return;
  {
    const std::lock_guard lock(quota_->mutex_);
    quota_->reserved_ = less(quota_->reserved_, net());
    if (covered_) {
      uncover(sum(covered_->size, bytes_));
    } else {
      quota_->used_ = sum(quota_->used_, bytes_);
    }
    quota_->used_ = less(quota_->used_, replaced);
  }
  quota_.reset();
}

void Quota::Reservation::release(std::uint64_t kept) {
  if (quota_ == nullptr) return;
  {
    const std::lock_guard lock(quota_->mutex_);
    quota_->reserved_ = less(quota_->reserved_, net());
    uncover(kept);
  }
  quota_.reset();
}

// --- the ledger -----------------------------------------------------------------------------------
Result<Quota::Reservation> Quota::reserve(std::uint64_t bytes, std::uint64_t replaces) {
  Reservation reservation;
  if (limit_ == 0) return reservation;
  reservation.quota_ = shared_from_this();
  if (auto done = reservation.change(bytes, replaces); !done) return std::unexpected(std::move(done.error()));
  return reservation;
}

void Quota::removed(std::uint64_t bytes) {
  const std::lock_guard lock(mutex_);
  used_ = less(used_, bytes);
}

Result<std::uint64_t> Quota::used() {
  std::unique_lock lock(mutex_);
  if (auto counted = count_if_stale(lock); !counted) return std::unexpected(std::move(counted.error()));
  return sum(used_, reserved_);
}

bool Quota::fresh() const {
  return counted_ && Clock::now() - counted_at_ < count_took_ * (share_of_counting - 1);
}

bool Quota::has_room(std::uint64_t more) const {
  const std::uint64_t taken = sum(used_, reserved_);
  return taken <= limit_ && more <= limit_ - taken;
}

Result<void> Quota::count_if_stale(std::unique_lock<std::mutex>& lock) {
  if (fresh()) return {};
  lock.unlock();
  // The tree holds still, as far as it depends on us, but reservations come and go meanwhile.
  const std::unique_lock alone(steady_);
  lock.lock();
  if (fresh()) return {};  // somebody else counted while we waited
  const auto covered = covered_;
  lock.unlock();
  const TimePoint begin = Clock::now();
  const auto size = tree_size(root_, covered);
  lock.lock();
  if (!size) return std::unexpected(size.error());
  used_ = *size;
  counted_ = true;
  counted_at_ = Clock::now();
  count_took_ = counted_at_ - begin;
  return {};
}

}  // namespace ftpd
