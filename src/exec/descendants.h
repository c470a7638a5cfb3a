// The end of whole process trees: who belongs to a command, killing them all, reaping orphans.
//
// The daemon is a subreaper (prctl(2)), so a descendant whose parents have died becomes a child of
// the daemon's main thread. Such an orphan is told apart by its session, then by the mark in its
// environment; one that hid both dies as soon as no command is left whose it could be.
#pragma once

#include <sys/types.h>

#include <memory>
#include <string>

#include "base/clock.h"
#include "base/error.h"
#include "base/unique_fd.h"
#include "reactor/offload.h"
#include "reactor/reactor.h"

namespace ftpd {

class TreeMemory;

/// Names one command's processes. A value.
struct CommandTree {
  pid_t leader = 0;                      // pid, session and process group of the command
  std::string mark;                      // value of FTPD_COMMAND in the environment
  std::shared_ptr<TreeMemory> memory{};  // shared by the copies; null where nothing is remembered

  /// Sends `signal` to the leader, its session, and everything that carries the mark or descends from
  /// any of those. SIGKILL again and again until a scan of /proc finds no process that has not had it
  /// (a tree that forks while it is being killed is killed too; bounded rounds), any other signal once.
  /// Nothing but descendants of this process is ever signalled. Blocking: pool only.
  void signal_all(int signal) const;
};

/// One for each process; made, used by its reactor and destroyed on the main thread, the one that
/// orphans are handed to. starting() to alive() may be called from any thread. The pool and the reactor
/// outlive it; it outlives every spawner and Child.
///
/// Processes that were below this one before create() are left alone.
/// Orphans that come from elsewhere later on (this process is the first of a container, and somebody
/// enters it) look like those of a command that hid, and end like them.
class Descendants {
 public:
  /// Becomes subreaper; handles SIGCHLD (which must be blocked, see block_signals). Reads /proc once.
  [[nodiscard]] static Result<std::unique_ptr<Descendants>> create(Reactor& main_reactor, Offload& pool);
  ~Descendants();

  /// A command is about to be started: added() or not_started() follows. In between there may be a
  /// process that nothing tells from an orphan yet.
  void starting();
  void not_started();

  /// A command runs.
  void added(const CommandTree& tree);

  /// The command was reaped. What remains of it is killed at `deadline` (SIGKILL). Costs nothing
  /// where the daemon has no orphans, which is the rule (waitid with __WNOTHREAD on the main thread
  /// answers ECHILD).
  void ended(CommandTree tree, TimePoint deadline);

  /// The command still runs but nobody waits for it: kill the tree now and reap the leader.
  void abandon(CommandTree tree, UniqueFd pidfd);

  /// Commands that run and orphans that are still alive. Any thread.
  [[nodiscard]] std::size_t alive() const;

  /// SIGKILL to everything that is left; blocks until it is reaped or `deadline`. At the daemon's end,
  /// on the main thread.
  void kill_everything(TimePoint deadline);

 private:
  struct State;
  explicit Descendants(std::shared_ptr<State> state);
  std::shared_ptr<State> state_;  // jobs of the pool and messages may hold it a little longer
};

}  // namespace ftpd
