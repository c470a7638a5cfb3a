// A running command: its pidfd and our ends of its pipes.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "base/error.h"
#include "base/unique_fd.h"
#include "exec/command.h"
#include "exec/descendants.h"

namespace ftpd {

/// Owned by one operation. Its own session and process group (the leader's pid names both), and a
/// mark in its environment, `FTPD_COMMAND=<random hex>`, tell its descendants.
///
/// Destroyed before it was reaped, the whole tree is killed at once (SIGKILL) and reaped elsewhere.
/// When it is reaped, its remaining descendants are left to Descendants, which kills them when
/// `kill_grace` has passed.
class Child {
 public:
  /// Made by a spawner, which has announced it with Descendants::starting().
  Child(pid_t pid, UniqueFd pidfd, std::string mark, Descendants& descendants);
  ~Child();
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  /// Our ends, non-blocking; the child's are blocking. -1 where there is none (input from /dev/null,
  /// or merged).
  UniqueFd input;
  UniqueFd output;
  UniqueFd errors;

  [[nodiscard]] pid_t pid() const { return tree_.leader; }

  /// Readable when the command has ended (pidfd_open(2)). Borrowed.
  [[nodiscard]] int pidfd() const { return pidfd_.get(); }

  /// Once pidfd() is readable: reaps, and answers the same from then on. Nothing while it runs.
  /// The grace of what remains begins here. Reaped by somebody else (Descendants::kill_everything), it
  /// counts as killed.
  [[nodiscard]] std::optional<ExitStatus> reap();

  /// A name for the command and all its descendants that outlives this object: its signal_all() is
  /// for the pool, and safe at any time, also after the command has ended.
  [[nodiscard]] CommandTree tree() const { return tree_; }

  /// How long descendants may outlive the command. Default 5 s. To be set before reap() succeeds.
  void set_kill_grace(Duration grace) { kill_grace_ = grace; }

 private:
  CommandTree tree_;
  UniqueFd pidfd_;
  Descendants& descendants_;
  Duration kill_grace_ = std::chrono::seconds{5};
  std::optional<ExitStatus> status_;
};

}  // namespace ftpd
