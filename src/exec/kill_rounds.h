// SIGKILL to a set of processes that may fork while it is being killed.
#pragma once

#include <signal.h>

#include <set>
#include <utility>
#include <vector>

#include "exec/process_table.h"

namespace ftpd {

/// Which processes were sent a signal already, by what names them for ever.
class Signalled {
 public:
  /// True the first time.
  bool insert(const Process& process) { return seen_.insert(process.name()).second; }

 private:
  std::set<ProcessName> seen_;
};

/// A tree that forks faster than it can be read gives up long before this.
inline constexpr int max_kill_rounds = 200;

/// Reads the table and kills what `choose(table)` returns, again and again until it has returned nothing
/// new twice: a process that has a SIGKILL pending can't fork any more (fork(2)), so what a reading missed
/// was forked by something new in it; but one reading alone can miss a chain whose links die as they fork.
template <class Choose>
void kill_rounds(Choose choose) {
  Signalled signalled;
  int without_news = 0;
  for (int round = 0; round < max_kill_rounds; ++round) {
    const auto table = ProcessTable::read();
    if (!table) return;
    bool news = false;
    for (const Process& process : choose(*table)) {
      if (!signalled.insert(process)) continue;
      table->signal(process, SIGKILL);
      news = true;
    }
    without_news = news ? 0 : without_news + 1;
    if (without_news == 2) return;
  }
}

}  // namespace ftpd
