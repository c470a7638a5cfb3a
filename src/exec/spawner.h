// Starting commands: the interface, and the implementation that uses threads of this process.
//
// A loop never spawns: it asks a Spawner and is told on its own thread.
#pragma once

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
  /// Errors: Reason::not_found (no such program), Reason::denied (not executable), Reason::system.
  [[nodiscard]] virtual Job start(Reactor& reactor, Command command, Started started) = 0;
};

/// posix_spawn(3) on threads of its own. `descendants` outlives it.
class ThreadSpawner final : public Spawner {
 public:
  ThreadSpawner(unsigned threads, Descendants& descendants);
  [[nodiscard]] Job start(Reactor& reactor, Command command, Started started) override;

 private:
  Descendants& descendants_;
  Offload threads_;
};

}  // namespace ftpd
