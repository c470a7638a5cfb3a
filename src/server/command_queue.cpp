// How many commands of a role run at once.
#include "server/command_queue.h"

namespace ftpd {

void CommandQueue::Slot::release() {
  if (queue_ != nullptr) std::exchange(queue_, nullptr)->release();
}

std::optional<CommandQueue::Slot> CommandQueue::try_take() {
  const std::lock_guard lock(mutex_);
  if (running_ >= limit_ || !waiting_.empty()) return std::nullopt;
  ++running_;
  return Slot{shared_from_this()};
}

void CommandQueue::Place::leave() {
  if (waiter_ == nullptr) return;
  waiter_->left = true;
  queue_->forget(waiter_);
  waiter_.reset();
  queue_.reset();
}

CommandQueue::Place CommandQueue::wait(Reactor& reactor, Granted granted) {
  auto waiter = std::make_shared<Waiter>();
  waiter->reactor = &reactor;
  waiter->granted = std::move(granted);
  const std::lock_guard lock(mutex_);
  if (running_ < limit_ && waiting_.empty()) {  // freed since try_take() said no
    ++running_;
    grant(waiter);
  } else {
    waiting_.push_back(waiter);
  }
  return Place{shared_from_this(), std::move(waiter)};
}

void CommandQueue::grant(std::shared_ptr<Waiter> waiter) {
  // Whoever has left meanwhile drops the slot on his own loop, which passes the turn on.
  Reactor& reactor = *waiter->reactor;
  reactor.post([waiter = std::move(waiter), slot = Slot{shared_from_this()}]() mutable {
    if (!waiter->left) waiter->granted(std::move(slot));
  });
}

void CommandQueue::release() {
  const std::lock_guard lock(mutex_);
  if (waiting_.empty()) {
    --running_;
    return;
  }
  auto next = std::move(waiting_.front());  // the turn passes on: `running_` stays
  waiting_.pop_front();
  grant(std::move(next));
}

void CommandQueue::forget(const std::shared_ptr<Waiter>& waiter) {
  const std::lock_guard lock(mutex_);
  std::erase(waiting_, waiter);
}

unsigned CommandQueue::running() const {
  const std::lock_guard lock(mutex_);
  return running_;
}

}  // namespace ftpd
