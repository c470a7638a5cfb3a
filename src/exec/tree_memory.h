// What is known of one command's processes beyond what they show themselves.
#pragma once

#include <cstddef>
#include <mutex>
#include <set>
#include <utility>

#include "exec/process_table.h"

namespace ftpd {

/// Shared by all copies of a CommandTree. Any thread.
class TreeMemory {
 public:
  /// From here on the leader's number may name another process.
  void leader_reaped() {
    const std::lock_guard lock(mutex_);
    reaped_ = true;
  }
  /// The leader's number has been given to another command, so its session was empty.
  void session_reused() {
    const std::lock_guard lock(mutex_);
    reused_ = true;
  }
  [[nodiscard]] bool is_leader_reaped() const {
    const std::lock_guard lock(mutex_);
    return reaped_;
  }
  [[nodiscard]] bool is_session_reused() const {
    const std::lock_guard lock(mutex_);
    return reused_;
  }

  /// A member that shows neither session nor mark; told by its parents, who may not live long.
  void remember(ProcessName hidden) {
    const std::lock_guard lock(mutex_);
    if (hidden_.size() < max_hidden) hidden_.insert(hidden);
  }
  [[nodiscard]] std::set<ProcessName> hidden() const {
    const std::lock_guard lock(mutex_);
    return hidden_;
  }

 private:
  static constexpr std::size_t max_hidden = 16384;
  mutable std::mutex mutex_;
  std::set<ProcessName> hidden_;
  bool reaped_ = false;
  bool reused_ = false;
};

}  // namespace ftpd
