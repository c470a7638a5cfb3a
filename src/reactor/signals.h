// Signals as events: signalfd(2), so that no handler runs between two instructions of ours.
#pragma once

#include <initializer_list>

#include "reactor/reactor.h"

namespace ftpd {

/// Blocks `signals` for this thread and the threads it starts later. Call it in main before any
/// thread exists. Children get an empty mask from the spawner.
void block_signals(std::initializer_list<int> signals);

/// Delivers blocked signals on the reactor's thread, each as its number. Several of one number that
/// come together are delivered once, as the kernel does.
class Signals {
 public:
  using Handler = Callback<void(int signal)>;

  [[nodiscard]] static Result<std::unique_ptr<Signals>> create(Reactor& reactor,
                                                               std::initializer_list<int> signals,
                                                               Handler handler);

 private:
  Signals(UniqueFd fd, Handler handler) : fd_(std::move(fd)), handler_(handler) {}
  void on_ready(std::uint32_t events);

  UniqueFd fd_;
  Handler handler_;
  Watch watch_;
};

}  // namespace ftpd
