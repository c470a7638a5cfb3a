// The heap of timers: earliest deadline at the root.
#include "reactor/timer.h"

#include <cassert>

#include "reactor/reactor.h"

namespace ftpd {

void TimerHeap::place(std::size_t index, Entry entry) {
  entries_[index] = entry;
  entry.timer->index_ = static_cast<std::uint32_t>(index);
}

void TimerHeap::sift_up(std::size_t index) {
  const Entry entry = entries_[index];
  while (index > 0) {
    const std::size_t parent = (index - 1) / 2;
    if (entries_[parent].deadline <= entry.deadline) break;
    place(index, entries_[parent]);
    index = parent;
  }
  place(index, entry);
}

void TimerHeap::sift_down(std::size_t index) {
  const Entry entry = entries_[index];
  for (;;) {
    std::size_t child = 2 * index + 1;
    if (child >= entries_.size()) break;
    if (child + 1 < entries_.size() && entries_[child + 1].deadline < entries_[child].deadline) ++child;
    if (entry.deadline <= entries_[child].deadline) break;
    place(index, entries_[child]);
    index = child;
  }
  place(index, entry);
}

void TimerHeap::insert(Timer& timer, TimePoint deadline) {
  assert(!timer.armed());
  entries_.push_back({deadline, &timer});
  sift_up(entries_.size() - 1);
}

void TimerHeap::update(Timer& timer, TimePoint deadline) {
  assert(timer.armed());
  const std::size_t index = timer.index_;
  const TimePoint before = entries_[index].deadline;
  entries_[index].deadline = deadline;
  if (deadline < before) {
    sift_up(index);
  } else if (before < deadline) {
    sift_down(index);
  }
}

void TimerHeap::remove(Timer& timer) {
  assert(timer.armed());
  const std::size_t index = timer.index_;
  timer.index_ = Timer::none;
  const Entry last = entries_.back();
  entries_.pop_back();
  if (last.timer == &timer) return;
  place(index, last);
  sift_up(index);
  sift_down(last.timer->index_);
}

TimePoint TimerHeap::earliest() const { return entries_.empty() ? never : entries_.front().deadline; }

Timer* TimerHeap::take_due(TimePoint now) {
  if (entries_.empty() || now < entries_.front().deadline) return nullptr;
  Timer* const timer = entries_.front().timer;
  remove(*timer);
  return timer;
}

void Timer::arm(TimePoint deadline) {
  if (deadline == never) return disarm();
  if (armed()) {
    reactor_.timers_.update(*this, deadline);
  } else {
    reactor_.timers_.insert(*this, deadline);
  }
}

void Timer::disarm() {
  if (armed()) reactor_.timers_.remove(*this);
}

}  // namespace ftpd
