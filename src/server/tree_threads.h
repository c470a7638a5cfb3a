// Threads for tree requests: libarchive pulls and pushes, so each such request blocks a thread of its own.
#pragma once

#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace ftpd {

/// A bounded set of threads that each do one piece of work and end. Any thread may call.
class TreeThreads {
 public:
  explicit TreeThreads(std::size_t limit) : slots_(limit) {}
  ~TreeThreads() { wait(); }
  TreeThreads(const TreeThreads&) = delete;
  TreeThreads& operator=(const TreeThreads&) = delete;

  /// False where all threads are taken, or the system gives none. What `work` captures is destroyed on
  /// its thread.
  [[nodiscard]] bool start(std::move_only_function<void()> work);

  /// Until every work has ended. Nobody starts any meanwhile.
  void wait();

 private:
  struct Slot {
    std::thread thread;  // one that has ended stays until its place is needed
    bool busy = false;
  };

  std::mutex mutex_;
  std::vector<Slot> slots_;  // under mutex_; never moved
};

}  // namespace ftpd
