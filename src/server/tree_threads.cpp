#include "server/tree_threads.h"

#include <algorithm>
#include <system_error>

namespace ftpd {

bool TreeThreads::start(std::move_only_function<void()> work) {
  const std::lock_guard lock(mutex_);
  const auto slot = std::ranges::find(slots_, false, &Slot::busy);
  if (slot == slots_.end()) return false;
  if (slot->thread.joinable()) slot->thread.join();  // it has ended
  try {
    slot->thread = std::thread([this, slot, work = std::move(work)]() mutable {
      work();
      work = nullptr;
      const std::lock_guard over(mutex_);
      slot->busy = false;
    });
  } catch (const std::system_error&) {
    return false;
  }
  slot->busy = true;
  return true;
}

void TreeThreads::wait() {
  for (Slot& slot : slots_) {
    std::thread thread;
    {
      const std::lock_guard lock(mutex_);
      thread = std::move(slot.thread);
    }
    if (thread.joinable()) thread.join();
  }
}

}  // namespace ftpd
