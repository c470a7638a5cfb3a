// Absolute-deadline timers of one reactor.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/callback.h"
#include "base/clock.h"

namespace ftpd {

class Reactor;
class Timer;

/// A binary heap of armed timers; each knows its place in it, so that disarming is O(log n).
/// Belongs to one Reactor.
class TimerHeap {
 public:
  void insert(Timer& timer, TimePoint deadline);
  void update(Timer& timer, TimePoint deadline);
  void remove(Timer& timer);

  /// `never` when none is armed.
  [[nodiscard]] TimePoint earliest() const;
  [[nodiscard]] std::size_t size() const { return entries_.size(); }

  /// Takes out and returns a timer whose deadline is not after `now`; null when there is none.
  [[nodiscard]] Timer* take_due(TimePoint now);

 private:
  struct Entry {
    TimePoint deadline;
    Timer* timer;
  };
  void place(std::size_t index, Entry entry);
  void sift_up(std::size_t index);
  void sift_down(std::size_t index);
  std::vector<Entry> entries_;
};

/// Calls once when the reactor's time has reached the deadline. Borrows what it calls.
/// Used on the reactor's thread only.
class Timer {
 public:
  Timer(Reactor& reactor, Callback<void()> action) : reactor_(reactor), action_(action) {}
  ~Timer() { disarm(); }
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;

  /// Replaces an earlier deadline. `never` disarms.
  void arm(TimePoint deadline);
  void disarm();
  [[nodiscard]] bool armed() const { return index_ != none; }

 private:
  friend class TimerHeap;
  friend class Reactor;
  static constexpr std::uint32_t none = UINT32_MAX;
  Reactor& reactor_;
  Callback<void()> action_;
  std::uint32_t index_ = none;
};

}  // namespace ftpd
