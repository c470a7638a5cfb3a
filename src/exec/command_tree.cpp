// Signals to one command's whole tree.
#include <signal.h>

#include "base/sys.h"
#include "exec/descendants.h"
#include "exec/kill_rounds.h"
#include "exec/process_table.h"
#include "exec/tree_memory.h"

namespace ftpd {
namespace {

/// While the leader is a child of ours and not reaped, its number can't name anything else.
bool leader_is_ours(const CommandTree& tree) {
  if (tree.leader <= 0 || (tree.memory != nullptr && tree.memory->is_leader_reaped())) return false;
  siginfo_t info{};
  return sys::waitid(P_PID, static_cast<id_t>(tree.leader), info, WEXITED | WNOHANG | WNOWAIT) == 0;
}

std::vector<Process> members(const ProcessTable& table, const CommandTree& tree) {
  const std::vector<int> owners = table.owners({&tree, 1});
  std::vector<Process> found;
  for (std::size_t i = 0; i < owners.size(); ++i) {
    if (owners[i] == 0) found.push_back(table.processes()[i]);
  }
  return found;
}

}  // namespace

void CommandTree::signal_all(int signal) const {
  // Who belongs to the tree is asked while parents can still tell.
  const auto table = ProcessTable::read();
  const std::vector<Process> known = table ? members(*table, *this) : std::vector<Process>{};
  // The group in one step of the kernel's, which no fork gets past and which needs no /proc.
  const bool group_had_it = leader_is_ours(*this) && sys::kill(-leader, signal) == 0;
  for (const Process& process : known) {
    if (!group_had_it || process.group != leader) table->signal(process, signal);
  }
  if (signal != SIGKILL) return;
  kill_rounds([this](const ProcessTable& again) { return members(again, *this); });
}

}  // namespace ftpd
