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
/// Destroyed after, its remaining descendants are left to Descendants, which kills them when
/// `kill_grace` has passed.
class Child {
 public:
  Child(pid_t pid, UniqueFd pidfd, std::string mark, Descendants& descendants);
  ~Child();
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  /// Our ends, non-blocking; the child's are blocking. -1 where there is none (input from /dev/null,
  /// or merged).
  UniqueFd input;
  UniqueFd output;
  UniqueFd errors;

  [[nodiscard]] pid_t pid() const { return pid_; }

  /// Readable when the command has ended (pidfd_open(2)). Borrowed.
  [[nodiscard]] int pidfd() const { return pidfd_.get(); }

  /// Once pidfd() is readable: reaps, and answers the same from then on. Nothing while it runs.
  [[nodiscard]] std::optional<ExitStatus> reap();

  /// SIGTERM or SIGKILL to the command and every descendant that is known at this moment. Scans /proc,
  /// so it is called on the pool; safe to call at any time, also after the command has ended.
  [[nodiscard]] CommandTree tree() const { return {pid_, mark_}; }

  /// How long descendants may outlive the command. Default 5 s.
  void set_kill_grace(Duration grace) { kill_grace_ = grace; }

 private:
  pid_t pid_;
  UniqueFd pidfd_;
  std::string mark_;
  Descendants& descendants_;
  Duration kill_grace_ = std::chrono::seconds{5};
  std::optional<ExitStatus> status_;
};

}  // namespace ftpd
