// The pool: threads for what may block on a disk or an exec, so that a loop never does.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <type_traits>
#include <utility>
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
    bool settled = false;                // loop thread only: done ran
    std::atomic<bool> abandoned{false};  // written by the loop; the pool looks before it begins
  };
  explicit Job(std::shared_ptr<State> state) : state_(std::move(state)) {}
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
  /// destroyed on the pool's thread before `done` runs, the result and `done` on the loop's. Neither
  /// may throw. Called on the loop's thread. `reactor` outlives the pool's jobs.
  template <class Work, class Done>
  [[nodiscard]] Job submit(Reactor& reactor, Work work, Done done) {
    auto state = std::make_shared<Job::State>();
    auto run = std::make_unique<Run<Work, Done>>(state, std::move(work), std::move(done));
    push([&reactor, run = std::move(run)]() mutable {
      if (!run->state->abandoned.load(std::memory_order_relaxed)) run->value.emplace((*run->work)());
      run->work.reset();
      reactor.post([run = std::move(run)] { run->settle(); });
    });
    return Job(std::move(state));
  }

  /// Work that nobody waits for. Any thread.
  void push(std::move_only_function<void()> work);

  /// Jobs not yet begun. Any thread.
  [[nodiscard]] std::size_t queued() const;

 private:
  /// A job on its way: from the loop to a thread of the pool and back, where it is destroyed.
  template <class Work, class Done>
  struct Run {
    std::shared_ptr<Job::State> state;
    std::optional<Work> work;
    Done done;
    std::optional<std::invoke_result_t<Work&>> value;  // none when it was abandoned before it began

    Run(std::shared_ptr<Job::State> s, Work w, Done d)
        : state(std::move(s)), work(std::move(w)), done(std::move(d)) {}
    void settle() {
      if (!value || state->abandoned.load(std::memory_order_relaxed)) return;
      state->settled = true;
      done(std::move(*value));
    }
  };

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
  if (state_ != nullptr) state_->abandoned.store(true, std::memory_order_relaxed);
  state_.reset();
}

}  // namespace ftpd
