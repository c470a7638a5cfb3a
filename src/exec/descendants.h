// The end of whole process trees: who belongs to a command, killing them all, reaping orphans.
//
// The daemon is a subreaper (prctl(2)), so a descendant whose parents have died becomes a child of
// the daemon's main thread. Such an orphan is told apart by its session, then by the mark in its
// environment; one that hid both dies as soon as no command is left whose it could be.
#pragma once

#include <sys/types.h>

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "base/unique_fd.h"
#include "reactor/offload.h"
#include "reactor/reactor.h"
#include "reactor/signals.h"
#include "reactor/timer.h"

namespace ftpd {

/// Names one command's processes. A value.
struct CommandTree {
  pid_t leader = 0;  // pid, session and process group of the command
  std::string mark;  // value of FTPD_COMMAND in the environment

  /// Sends `signal` to the leader, its session, and everything that carries the mark or descends from
  /// any of those, again and again until a scan of /proc finds no process that has not had it (a tree
  /// that forks while it is being killed is killed too; bounded rounds). Blocking: pool only.
  void signal_all(int signal) const;
};

/// One for each process; made on the main thread, whose reactor it uses. added(), ended() and
/// abandon() may be called from any thread.
class Descendants {
 public:
  /// Becomes subreaper; handles SIGCHLD (which must be blocked, see block_signals).
  [[nodiscard]] static Result<std::unique_ptr<Descendants>> create(Reactor& main_reactor, Offload& pool);
  ~Descendants();

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
  explicit Descendants(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace ftpd
