// Starting commands: the interface, and the implementation that uses threads of this process.
//
// A loop never spawns: it asks a Spawner and is told on its own thread.
#pragma once

#include <spawn.h>

#include <functional>
#include <memory>

#include "base/error.h"
#include "exec/child.h"
#include "exec/command.h"
#include "reactor/offload.h"

namespace ftpd {

class Spawner {
 public:
  using Started = std::move_only_function<void(Result<std::unique_ptr<Child>>)>;

  virtual ~Spawner() = default;

  /// Any loop. `started` is called on that loop's thread, once, unless the Job was abandoned: then a
  /// child that had started is killed with all its descendants.
  /// Errors: Reason::not_found (no such program), Reason::denied (not executable), Reason::too_large
  /// (more arguments than execve(2) takes), Reason::busy (no process or descriptor left),
  /// Reason::invalid (no argv, no directory, a NUL in a string), Reason::system.
  [[nodiscard]] virtual Job start(Reactor& reactor, Command command, Started started) = 0;
};

/// posix_spawn(3) on threads of its own. The command gets descriptors 0, 1 and 2 alone, a session of its
/// own, no blocked and no ignored signal. A name without '/' is looked up in the daemon's own PATH.
/// `descendants` and the reactors of jobs under way outlive it; a command's parent is the thread that
/// spawned it, so it is destroyed after the last Child.
class ThreadSpawner final : public Spawner {
 public:
  /// `threads` at least 1.
  ThreadSpawner(unsigned threads, Descendants& descendants);
  ~ThreadSpawner() override;
  ThreadSpawner(const ThreadSpawner&) = delete;
  ThreadSpawner& operator=(const ThreadSpawner&) = delete;

  [[nodiscard]] Job start(Reactor& reactor, Command command, Started started) override;

 private:
  [[nodiscard]] Result<std::unique_ptr<Child>> spawn(const Command& command);

  Descendants& descendants_;
  UniqueFd null_;                 // /dev/null, shared by all; empty where it can't be opened
  posix_spawnattr_t attributes_;  // the same for every command
  Offload threads_;               // last: its jobs use the others
};

}  // namespace ftpd
