// The turn of the loop, and what is registered with it: watches and tasks.
#include "reactor/reactor.h"

#include <sys/eventfd.h>

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <climits>

#include "base/sys.h"

namespace ftpd {
namespace {

constexpr std::uint64_t wake_key = UINT64_MAX;  // no slot's: the indexes never come near UINT32_MAX

// How long the loop sleeps at most while a watch waits to be taken back into epoll.
constexpr Duration lost_retry = std::chrono::milliseconds(10);

}  // namespace

Result<std::unique_ptr<Reactor>> Reactor::create(TimeSource now) {
  UniqueFd epoll(sys::epoll_create1(EPOLL_CLOEXEC));
  if (!epoll) return fail_errno(errno, "epoll_create1");
  UniqueFd wake(sys::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wake) return fail_errno(errno, "eventfd");
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u64 = wake_key;
  if (sys::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, wake.get(), &event) != 0) {
    return fail_errno(errno, "epoll_ctl");
  }
  return std::unique_ptr<Reactor>(new Reactor(std::move(epoll), std::move(wake), now));
}

Reactor::Reactor(UniqueFd epoll, UniqueFd wake_event, TimeSource time_source)
    : epoll_(std::move(epoll)),
      wake_(std::move(wake_event)),
      time_source_(time_source),
      now_(time_source()) {}

Reactor::~Reactor() {
  // What never ran is destroyed while there is still a reactor: it may own watches, timers and tasks,
  // and destroying it may defer more.
  for (;;) {
    std::vector<std::move_only_function<void()>> posted;
    {
      const std::lock_guard lock(posted_mutex_);
      posted.swap(posted_);
    }
    std::deque<std::move_only_function<void()>> deferred;
    deferred.swap(deferred_);
    if (posted.empty() && deferred.empty()) break;
  }
  assert(free_slots_.size() == slots_.size() && "a watch outlives its reactor");
  assert(timers_.size() == 0 && "an armed timer outlives its reactor");
}

Result<void> Reactor::run() {
  while (!stopping_.exchange(false)) {
    if (auto turned = turn(); !turned) return turned;
  }
  return {};
}

Result<void> Reactor::turn(TimePoint deadline) {
  if (!lost_.empty()) retry_lost();
  const auto count = wait(deadline);
  if (!count) return std::unexpected(count.error());
  now_ = time_source_();
  turns_.fetch_add(1, std::memory_order_relaxed);
  hand_out(*count);
  fire_timers();
  run_tasks();
  run_posts();
  run_deferred();
  return {};
}

void Reactor::stop() {
  stopping_.store(true);
  wake();
}

void Reactor::wake() {
  const std::uint64_t one = 1;
  // EAGAIN means that the counter is full, and the loop as good as woken.
  [[maybe_unused]] const auto written = sys::write(wake_.get(), &one, sizeof one);
}

void Reactor::post(std::move_only_function<void()> message) {
  bool first = false;
  {
    const std::lock_guard lock(posted_mutex_);
    first = posted_.empty();
    posted_.push_back(std::move(message));
  }
  if (first) wake();  // whoever posted the messages before this one has woken the loop, or is about to
}

void Reactor::defer(std::move_only_function<void()> action) { deferred_.push_back(std::move(action)); }

int Reactor::timeout_ms(TimePoint deadline) const {
  if (!ready_.empty() || !deferred_.empty()) return 0;
  TimePoint until = std::min(deadline, timers_.earliest());
  if (until == never && lost_.empty()) return -1;
  const TimePoint now = time_source_();
  if (!lost_.empty()) until = std::min(until, now + lost_retry);
  if (until <= now) return 0;
  // Rounded up, so that the timer is due when the wait is over.
  const auto ms = std::chrono::ceil<std::chrono::milliseconds>(until - now).count();
  return static_cast<int>(std::min<std::int64_t>(ms, INT_MAX));
}

Result<std::size_t> Reactor::wait(TimePoint deadline) {
  const int count =
      sys::epoll_wait(epoll_.get(), events_->data(), static_cast<int>(batch), timeout_ms(deadline));
  if (count < 0) return fail_errno(errno, "epoll_wait");
  return static_cast<std::size_t>(count);
}

Watch* Reactor::find(std::uint64_t key) const {
  const Slot& slot = slots_[static_cast<std::uint32_t>(key)];
  return slot.generation == static_cast<std::uint32_t>(key >> 32U) ? slot.watch : nullptr;
}

void Reactor::hand_out(std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) {
    const epoll_event event = (*events_)[i];
    if (event.data.u64 == wake_key) {
      std::uint64_t ignored = 0;
      [[maybe_unused]] const auto size = sys::read(wake_.get(), &ignored, sizeof ignored);
      continue;
    }
    const Watch* const watch = find(event.data.u64);
    // An earlier handler of this batch may have stopped the watch or lost interest in part of it.
    if (watch == nullptr || watch->interest_ == 0) continue;
    const std::uint32_t wanted = event.events & (watch->interest_ | EPOLLHUP | EPOLLERR);
    if (wanted == 0) continue;
    const Watch::Handler handler = watch->handler_;  // the handler may destroy its watch
    handler(wanted);
  }
}

void Reactor::fire_timers() {
  // At most as many as there are, so that a timer which arms itself for now can't hold the turn.
  for (std::size_t left = timers_.size(); left > 0; --left) {
    const Timer* const timer = timers_.take_due(now_);
    if (timer == nullptr) return;
    const auto action = timer->action_;  // which may destroy its timer
    action();
  }
}

void Reactor::run_tasks() {
  const std::size_t count = ready_.size();
  for (std::size_t i = 0; i < count; ++i) {
    Task* const task = ready_[i];  // by index: the vector may grow meanwhile
    if (task == nullptr) continue;
    ready_[i] = nullptr;
    task->index_ = Task::none;
    const auto action = task->action_;  // which may destroy its task
    action();
  }
  ready_.erase(ready_.begin(), ready_.begin() + static_cast<std::ptrdiff_t>(count));
  for (std::size_t i = 0; i < ready_.size(); ++i) {
    if (ready_[i] != nullptr) ready_[i]->index_ = static_cast<std::uint32_t>(i);
  }
}

void Reactor::run_posts() {
  {
    const std::lock_guard lock(posted_mutex_);
    running_posts_.swap(posted_);
  }
  for (auto& message : running_posts_) {
    message();
    message = nullptr;  // what it captured goes before the next one runs
  }
  running_posts_.clear();
}

void Reactor::run_deferred() {
  for (std::size_t left = deferred_.size(); left > 0; --left) {
    auto action = std::move(deferred_.front());
    deferred_.pop_front();
    action();
  }
}

void Reactor::retry_lost() {
  std::vector<std::uint64_t> lost;
  lost.swap(lost_);
  for (const std::uint64_t key : lost) {
    Watch* const watch = find(key);
    if (watch != nullptr && watch->control(watch->interest_) != 0) lost_.push_back(key);
  }
}

// --- watches ---

std::uint64_t Watch::key() const { return std::uint64_t{reactor_->slots_[slot_].generation} << 32U | slot_; }

/// Makes epoll hold `events` for the descriptor: 0, or -1 with errno.
int Watch::control(std::uint32_t events) {
  if (events == registered_) return 0;
  const int epoll = reactor_->epoll_.get();
  epoll_event event{};
  event.events = events;
  event.data.u64 = key();
  // An exclusive registration can't be modified, only made anew (epoll_ctl(2)).
  if (registered_ != 0 && events != 0 && ((registered_ | events) & EPOLLEXCLUSIVE) == 0) {
    if (sys::epoll_ctl(epoll, EPOLL_CTL_MOD, fd_, &event) != 0) return -1;
    registered_ = events;
    return 0;
  }
  if (registered_ != 0) {
    // It fails only where the descriptor was closed before its watch, and then it is out of epoll.
    [[maybe_unused]] const int removed = sys::epoll_ctl(epoll, EPOLL_CTL_DEL, fd_, &event);
    registered_ = 0;
  }
  if (events != 0 && sys::epoll_ctl(epoll, EPOLL_CTL_ADD, fd_, &event) != 0) return -1;
  registered_ = events;
  return 0;
}

Result<void> Watch::start(Reactor& reactor, int fd, std::uint32_t events, Handler handler) {
  stop();
  if (reactor.free_slots_.empty()) {
    reactor.free_slots_.push_back(static_cast<std::uint32_t>(reactor.slots_.size()));
    reactor.slots_.emplace_back();
  }
  slot_ = reactor.free_slots_.back();
  reactor.free_slots_.pop_back();
  reactor.slots_[slot_].watch = this;
  reactor_ = &reactor;
  fd_ = fd;
  handler_ = handler;
  interest_ = events;
  if (control(events) != 0) {
    const int number = errno;
    stop();
    return fail_errno(number, "epoll_ctl");
  }
  return {};
}

void Watch::set_interest(std::uint32_t events) {
  assert(started());
  if (events == interest_ && events == registered_) return;
  interest_ = events;
  if (control(events) != 0) reactor_->lost_.push_back(key());
}

void Watch::stop() {
  if (reactor_ == nullptr) return;
  [[maybe_unused]] const int removed = control(0);
  Reactor::Slot& slot = reactor_->slots_[slot_];
  slot.watch = nullptr;
  ++slot.generation;
  reactor_->free_slots_.push_back(slot_);
  reactor_ = nullptr;
  interest_ = 0;
}

// --- tasks ---

void Task::schedule() {
  if (scheduled()) return;
  index_ = static_cast<std::uint32_t>(reactor_.ready_.size());
  reactor_.ready_.push_back(this);
}

void Task::cancel() {
  if (!scheduled()) return;
  reactor_.ready_[index_] = nullptr;
  index_ = none;
}

}  // namespace ftpd
