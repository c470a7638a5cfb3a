// What /proc says about the processes below this one (proc(5)).
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/unique_fd.h"

namespace ftpd {

struct CommandTree;

/// The variable that every command's environment carries.
inline constexpr std::string_view mark_name = "FTPD_COMMAND";

/// A pid and when it was started: names a process for ever, while the pid alone is used again.
using ProcessName = std::pair<pid_t, std::uint64_t>;

/// A process as it was when its line was read.
struct Process {
  pid_t pid = 0;
  pid_t parent = 0;
  pid_t group = 0;
  pid_t session = 0;
  std::uint64_t start = 0;  // clock ticks since boot
  bool dead = false;        // a zombie; it can be signalled, to no effect, until it is reaped

  [[nodiscard]] ProcessName name() const { return {pid, start}; }
};

/// Parses /proc/PID/stat. Nothing where it is not what proc(5) says.
[[nodiscard]] std::optional<Process> parse_stat(std::string_view text);

/// A snapshot of the descendants of this process, itself left out. Not atomic: what forks or dies
/// while it is read may be missing, so whoever needs certainty reads again. Blocking: pool only.
class ProcessTable {
 public:
  [[nodiscard]] static Result<ProcessTable> read();

  /// Sorted by pid.
  [[nodiscard]] std::span<const Process> processes() const { return processes_; }

  /// Null where there is no such descendant.
  [[nodiscard]] const Process* find(pid_t pid) const;

  /// For each process the index of the tree that it belongs to, or -1: by its session, what
  /// is remembered of it, its mark, or what its parent belongs to, in that order. Remembers what only
  /// the parents told. Reads environments where the session does not tell.
  [[nodiscard]] std::vector<int> owners(std::span<const CommandTree> trees) const;

  /// Sends the signal if the process is still the one that was read.
  void signal(const Process& process, int signal) const;

 private:
  explicit ProcessTable(UniqueFd proc) : proc_(std::move(proc)) {}
  Result<void> read_all();
  [[nodiscard]] std::optional<Process> read_one(std::string_view pid) const;
  [[nodiscard]] std::string mark_of(pid_t pid) const;
  [[nodiscard]] std::vector<int> inherited(std::vector<int> owners) const;
  [[nodiscard]] bool holds_session_of(const CommandTree& tree) const;
  [[nodiscard]] std::size_t index_of(pid_t pid) const;

  UniqueFd proc_;
  std::vector<Process> processes_;
};

}  // namespace ftpd
