// The pool: threads for what may block on a disk or an exec, so that a loop never does.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "reactor/reactor.h"

namespace ftpd {

/// The handle of a job under way. Destroying or resetting it means that nobody waits any more: the
/// work still runs (or is skipped when it has not begun), its result is destroyed, `done` is not
/// called. Lives on the loop that submitted the job. Empty once `done` has run.
class Job {
 public:
  Job() = default;
  ~Job() { abandon(); }
  Job(Job&&) noexcept = default;
  Job& operator=(Job&& other) noexcept;
  void abandon();
  [[nodiscard]] bool pending() const { return state_ != nullptr && !state_->settled; }

 private:
  friend class Offload;
  struct State {
    bool settled = false;    // loop thread only: done ran, or nobody waits
    bool abandoned = false;  // loop thread only
  };
  std::shared_ptr<State> state_;
};

class Offload {
 public:
  /// `threads` at least 1.
  explicit Offload(unsigned threads);

  /// Finishes the jobs under way and those queued, then joins.
  ~Offload();
  Offload(const Offload&) = delete;
  Offload& operator=(const Offload&) = delete;

  /// Runs `work` on a pool thread, then `done(result)` on `reactor`'s thread. What `work` captures is
  /// destroyed on the pool's thread, the result and `done` on the loop's. Called on the loop's
  /// thread. `reactor` outlives the pool's jobs.
  template <class Work, class Done>
  [[nodiscard]] Job submit(Reactor& reactor, Work work, Done done) {
    using Value = std::invoke_result_t<Work&>;
    Job job;
    job.state_ = std::make_shared<Job::State>();
    push([&reactor, state = job.state_, work = std::move(work), done = std::move(done)]() mutable {
      auto value = std::make_unique<Value>(work());
      reactor.post([state = std::move(state), value = std::move(value), done = std::move(done)]() mutable {
        if (state->abandoned) return;
        state->settled = true;
        done(std::move(*value));
      });
    });
    return job;
  }

  /// Work that nobody waits for.
  void push(std::move_only_function<void()> work);

  /// Jobs not yet begun. Any thread.
  [[nodiscard]] std::size_t queued() const;

 private:
  void serve();

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::move_only_function<void()>> queue_;
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

inline Job& Job::operator=(Job&& other) noexcept {
  if (this != &other) {
    abandon();
    state_ = std::move(other.state_);
  }
  return *this;
}
inline void Job::abandon() {
  if (state_ != nullptr) state_->abandoned = true;
  state_.reset();
}

}  // namespace ftpd
