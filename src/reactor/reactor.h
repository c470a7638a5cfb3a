// One event loop: epoll, timers, tasks and messages from other threads (epoll(7), level-triggered).
//
// A Reactor and everything registered with it belong to the thread that calls run(); only post() and
// stop() may be called from elsewhere. A turn is: wait, hand out events, fire timers, run the tasks
// that were scheduled, run what was posted, then the deferred destructions. So a handler may destroy
// any Watch, Timer or Task (its own included), but an object whose member function is on the stack is
// destroyed through defer().
#pragma once

#include <sys/epoll.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "base/callback.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/unique_fd.h"
#include "reactor/timer.h"

namespace ftpd {

class Watch;
class Task;

class Reactor {
 public:
  /// Where the time comes from; tests give their own.
  using TimeSource = TimePoint (*)();

  [[nodiscard]] static Result<std::unique_ptr<Reactor>> create(TimeSource now = Clock::now);
  ~Reactor();
  Reactor(const Reactor&) = delete;
  Reactor& operator=(const Reactor&) = delete;

  /// Turns until stop(). An Error only where epoll itself fails.
  [[nodiscard]] Result<void> run();

  /// One turn that waits at most until `deadline` (for tests and for loops that are driven).
  [[nodiscard]] Result<void> turn(TimePoint deadline = never);

  /// Any thread: run() returns after the present turn.
  void stop();

  /// The time at the start of this turn; refreshed after each wait.
  [[nodiscard]] TimePoint now() const { return now_; }

  /// Any thread: `message` runs on the loop's thread in its next turn, in the order posted.
  void post(std::move_only_function<void()> message);

  /// Runs `action` after this turn's events, timers, tasks and posts: the place to destroy in.
  void defer(std::move_only_function<void()> action);

  /// Times the loop turned, for the watchdog and for measurements. Any thread.
  [[nodiscard]] std::uint64_t turns() const { return turns_.load(std::memory_order_relaxed); }

 private:
  friend class Watch;
  friend class Timer;
  friend class Task;

  /// A registered watch: epoll's data holds index and generation, so that an event of a batch which
  /// was meant for a watch destroyed meanwhile is recognised and dropped.
  struct Slot {
    Watch* watch = nullptr;
    std::uint32_t generation = 0;
  };
  static constexpr std::size_t batch = 256;
  using Events = std::array<epoll_event, batch>;

  Reactor(UniqueFd epoll, UniqueFd wake_event, TimeSource time_source);
  void wake();

  // The phases of a turn.
  [[nodiscard]] Result<std::size_t> wait(TimePoint deadline);
  [[nodiscard]] int timeout_ms(TimePoint deadline) const;
  void hand_out(std::size_t count);
  void fire_timers();
  void run_tasks();
  void run_posts();
  void run_deferred();

  [[nodiscard]] Watch* find(std::uint64_t key) const;
  void retry_lost();

  UniqueFd epoll_;
  UniqueFd wake_;  // eventfd: post() and stop()
  TimeSource time_source_;
  TimePoint now_;
  std::unique_ptr<Events> events_ = std::make_unique<Events>();
  std::vector<Slot> slots_;
  std::vector<std::uint32_t> free_slots_;
  std::vector<std::uint64_t> lost_;  // watches that epoll refused to take back, tried again each turn
  TimerHeap timers_;
  std::vector<Task*> ready_;  // null where one was cancelled
  std::deque<std::move_only_function<void()>> deferred_;
  std::mutex posted_mutex_;
  std::vector<std::move_only_function<void()>> posted_;
  std::vector<std::move_only_function<void()>> running_posts_;  // loop thread only
  std::atomic<bool> stopping_{false};
  std::atomic<std::uint64_t> turns_{0};
};

/// Interest in one descriptor. Borrows the descriptor and the object it calls; declare it after both.
class Watch {
 public:
  using Handler = Callback<void(std::uint32_t events)>;

  Watch() = default;
  ~Watch() { stop(); }
  Watch(const Watch&) = delete;
  Watch& operator=(const Watch&) = delete;

  /// `events` are EPOLLIN, EPOLLOUT, EPOLLRDHUP, EPOLLEXCLUSIVE; a watch already started is stopped
  /// first. The handler sees what it asked for, EPOLLHUP and EPOLLERR. Interest 0 keeps the descriptor out
  /// of epoll altogether, since EPOLLHUP and EPOLLERR come unasked (epoll_ctl(2)).
  [[nodiscard]] Result<void> start(Reactor& reactor, int fd, std::uint32_t events, Handler handler);

  /// No system call where nothing changed. After an EPOLLEXCLUSIVE start only 0 and the same again.
  /// Where the kernel has no memory for it now, the reactor tries again by itself.
  void set_interest(std::uint32_t events);
  [[nodiscard]] std::uint32_t interest() const { return interest_; }

  /// No event is delivered after this returns. Idempotent.
  void stop();
  [[nodiscard]] bool started() const { return reactor_ != nullptr; }

 private:
  friend class Reactor;
  [[nodiscard]] std::uint64_t key() const;
  [[nodiscard]] int control(std::uint32_t events);

  Reactor* reactor_ = nullptr;
  Handler handler_;
  int fd_ = -1;
  std::uint32_t slot_ = 0;
  std::uint32_t interest_ = 0;    // wanted
  std::uint32_t registered_ = 0;  // what epoll has; 0: the descriptor is not in it
};

/// Something to do in the next turn without waiting for an event: a connection that stopped for
/// fairness with bytes already read uses it to be called again.
class Task {
 public:
  Task(Reactor& reactor, Callback<void()> action) : reactor_(reactor), action_(action) {}
  ~Task() { cancel(); }
  Task(const Task&) = delete;
  Task& operator=(const Task&) = delete;

  /// Idempotent until it ran. Scheduled during the task phase, it runs in the turn after.
  void schedule();
  void cancel();
  [[nodiscard]] bool scheduled() const { return index_ != none; }

 private:
  friend class Reactor;
  static constexpr std::uint32_t none = UINT32_MAX;
  Reactor& reactor_;
  Callback<void()> action_;
  std::uint32_t index_ = none;
};

}  // namespace ftpd
