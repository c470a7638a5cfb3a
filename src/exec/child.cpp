// A running command's end: reaping it and handing on what it leaves behind.
#include "exec/child.h"

#include <cerrno>
#include <csignal>
#include <utility>

#include "base/sys.h"
#include "exec/tree_memory.h"

namespace ftpd {

Child::Child(pid_t pid, UniqueFd pidfd, std::string mark, Descendants& descendants)
    : tree_{pid, std::move(mark), std::make_shared<TreeMemory>()},
      pidfd_(std::move(pidfd)),
      descendants_(descendants) {
  descendants_.added(tree_);
}

Child::~Child() {
  if (!status_) descendants_.abandon(tree_, std::move(pidfd_));
}

std::optional<ExitStatus> Child::reap() {
  if (status_) return status_;
  siginfo_t info{};
  if (sys::waitid(P_PIDFD, static_cast<id_t>(pidfd_.get()), info, WEXITED | WNOHANG) != 0) {
    if (errno != ECHILD) return std::nullopt;
    status_ = ExitStatus{.signalled = true, .value = SIGKILL};
  } else if (info.si_pid == 0) {
    return std::nullopt;
  } else {
    status_ = ExitStatus{.signalled = info.si_code != CLD_EXITED, .value = info.si_status};
  }
  tree_.memory->leader_reaped();
  const TimePoint now = Clock::now();
  descendants_.ended(tree_, kill_grace_ < never - now ? now + kill_grace_ : never);
  return status_;
}

}  // namespace ftpd
