// Signals arrive as events on the loop.
#include "reactor/signals.h"

#include <doctest/doctest.h>
#include <signal.h>

#include <cerrno>
#include <string_view>
#include <vector>

#include "base/sys.h"

using namespace ftpd;

namespace {

struct Caught {
  void on_signal(int signal) { numbers.push_back(signal); }
  std::vector<int> numbers;
};

}  // namespace

TEST_CASE("blocked signals are delivered as their numbers, equal ones once") {
  auto reactor = Reactor::create();
  REQUIRE(reactor);
  block_signals({SIGUSR1, SIGUSR2});
  Caught caught;
  const auto signals =
      Signals::create(**reactor, {SIGUSR1, SIGUSR2}, Signals::Handler::to<&Caught::on_signal>(caught));
  REQUIRE(signals);
  // To this thread, not to the process: a sanitizer's own thread does not block them.
  REQUIRE(::raise(SIGUSR1) == 0);
  REQUIRE(::raise(SIGUSR1) == 0);
  REQUIRE(::raise(SIGUSR2) == 0);
  REQUIRE((*reactor)->turn());
  CHECK(caught.numbers == std::vector{SIGUSR1, SIGUSR2});
}

TEST_CASE("without a signalfd there is an error") {
  auto reactor = Reactor::create();
  REQUIRE(reactor);
  Caught caught;
  sys::set_fault_hook([](const char* call) { return std::string_view(call) == "signalfd" ? EMFILE : 0; });
  const auto signals =
      Signals::create(**reactor, {SIGUSR1}, Signals::Handler::to<&Caught::on_signal>(caught));
  sys::set_fault_hook(nullptr);
  REQUIRE_FALSE(signals);
  CHECK(signals.error().reason == Reason::busy);
}
