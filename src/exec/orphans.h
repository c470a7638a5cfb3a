// Orphans: reaping those that were handed to this thread, killing those that belong to no command.
#pragma once

#include <functional>
#include <span>
#include <vector>

#include "exec/process_table.h"

namespace ftpd {

enum class Orphans : std::uint8_t {
  none,  // alive or dead: so nothing of any command that was reaped is left
  some,  // all alive
  more,  // dead ones are left for the next time
};

/// Reaps the children of the calling thread, a bounded number. A command's own process is a child of the
/// thread that spawned it, so its status can't be taken here.
[[nodiscard]] Orphans reap_orphans();

/// What was below this process before it had commands, and is not ours to kill. Constant once made.
class Strangers {
 public:
  static constexpr int unknown = -1;   // belongs to no command
  static constexpr int stranger = -2;  // is one, or below one

  Strangers() = default;
  explicit Strangers(const ProcessTable& table);

  /// As ProcessTable::owners(), with strangers told apart.
  [[nodiscard]] std::vector<int> owners(const ProcessTable& table, std::span<const CommandTree> trees) const;

  /// SIGKILL to all that is neither stranger nor below one, as long as `allowed()`, asked after each
  /// reading of the table. Blocking: pool only, or at the daemon's end.
  void kill_others(const std::function<bool()>& allowed) const;

  /// Nothing but strangers is left.
  [[nodiscard]] bool alone() const;

 private:
  std::vector<ProcessName> names_;  // sorted
};

}  // namespace ftpd
