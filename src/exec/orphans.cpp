// Reaping and killing what no command answers for any more.
#include "exec/orphans.h"

#include <algorithm>
#include <cerrno>

#include "base/sys.h"
#include "exec/descendants.h"
#include "exec/kill_rounds.h"

namespace ftpd {
namespace {

constexpr int reaped_at_once = 256;

}  // namespace

Orphans reap_orphans() {
  for (int i = 0; i < reaped_at_once; ++i) {
    siginfo_t info{};
    if (sys::waitid(P_ALL, 0, info, WEXITED | WNOHANG | __WNOTHREAD) != 0) {
      return errno == ECHILD ? Orphans::none : Orphans::some;
    }
    if (info.si_pid == 0) return Orphans::some;
  }
  return Orphans::more;
}

Strangers::Strangers(const ProcessTable& table) {
  for (const Process& process : table.processes()) names_.push_back(process.name());
  std::ranges::sort(names_);
}

std::vector<int> Strangers::owners(const ProcessTable& table, std::span<const CommandTree> trees) const {
  std::vector<int> owners = table.owners(trees);
  if (names_.empty()) return owners;
  const auto processes = table.processes();
  for (std::size_t i = 0; i < processes.size(); ++i) {
    if (std::ranges::binary_search(names_, processes[i].name())) owners[i] = stranger;
  }
  // Their children come to light generation by generation.
  for (bool changed = true; changed;) {
    changed = false;
    for (std::size_t i = 0; i < processes.size(); ++i) {
      const Process* const parent = owners[i] == unknown ? table.find(processes[i].parent) : nullptr;
      if (parent == nullptr || owners[static_cast<std::size_t>(parent - processes.data())] != stranger)
        continue;
      owners[i] = stranger;
      changed = true;
    }
  }
  return owners;
}

void Strangers::kill_others(const std::function<bool()>& allowed) const {
  kill_rounds([&](const ProcessTable& table) {
    std::vector<Process> chosen;
    const std::vector<int> whose = owners(table, {});
    if (!allowed()) return chosen;
    for (std::size_t i = 0; i < whose.size(); ++i) {
      if (whose[i] == unknown) chosen.push_back(table.processes()[i]);
    }
    return chosen;
  });
}

bool Strangers::alone() const {
  const auto table = ProcessTable::read();
  return table && std::ranges::all_of(owners(*table, {}), [](int owner) { return owner == stranger; });
}

}  // namespace ftpd
