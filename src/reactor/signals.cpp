// Reads what the kernel collected in a signalfd and hands out the numbers.
#include "reactor/signals.h"

#include <signal.h>

#include <array>
#include <cassert>
#include <cerrno>

#include "base/sys.h"

namespace ftpd {
namespace {

sigset_t set_of(std::initializer_list<int> signals) {
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : signals) sigaddset(&set, signal);
  return set;
}

}  // namespace

void block_signals(std::initializer_list<int> signals) {
  [[maybe_unused]] const int error = sys::pthread_sigmask(SIG_BLOCK, set_of(signals));
  assert(error == 0);
}

Result<std::unique_ptr<Signals>> Signals::create(Reactor& reactor, std::initializer_list<int> signals,
                                                 Handler handler) {
  UniqueFd fd(sys::signalfd(-1, set_of(signals), SFD_CLOEXEC | SFD_NONBLOCK));
  if (!fd) return fail_errno(errno, "signalfd");
  std::unique_ptr<Signals> made(new Signals(std::move(fd), handler));
  const auto watched = made->watch_.start(reactor, made->fd_.get(), EPOLLIN,
                                          Callback<void(std::uint32_t)>::to<&Signals::on_ready>(*made));
  if (!watched) return std::unexpected(watched.error());
  return made;
}

void Signals::on_ready(std::uint32_t) {
  std::array<signalfd_siginfo, 8> pending;
  const ssize_t size = sys::read(fd_.get(), pending.data(), sizeof pending);
  if (size <= 0) return;
  // Level-triggered: what did not fit comes with the next turn. A copy of the handler, since the first
  // signal's may well destroy this object.
  const Handler handler = handler_;
  const std::size_t count = static_cast<std::size_t>(size) / sizeof(signalfd_siginfo);
  for (std::size_t i = 0; i < count; ++i) handler(static_cast<int>(pending[i].ssi_signo));
}

}  // namespace ftpd
