// Timers under a clock that the test turns by hand.
#include "reactor/timer.h"

#include <doctest/doctest.h>

#include <memory>
#include <random>
#include <vector>

#include "reactor/reactor.h"

using namespace ftpd;
using namespace std::chrono_literals;

namespace {

TimePoint clock_now{};
TimePoint read_clock() { return clock_now; }
TimePoint at(Duration since_start) { return TimePoint{} + since_start; }

std::unique_ptr<Reactor> make_reactor() {
  clock_now = TimePoint{};
  auto reactor = Reactor::create(read_clock);
  REQUIRE(reactor);
  return std::move(*reactor);
}

/// One turn at `now`, without waiting.
void turn_at(Reactor& reactor, TimePoint now) {
  clock_now = now;
  REQUIRE(reactor.turn(now));
}

struct Alarm {
  Alarm(Reactor& reactor, std::vector<int>& rung, int number)
      : timer(reactor, Callback<void()>::to<&Alarm::ring>(*this)), log(rung), name(number) {}
  void ring() {
    log.push_back(name);
    if (then) then();
  }
  Timer timer;
  std::vector<int>& log;
  int name;
  std::move_only_function<void()> then;
};

}  // namespace

TEST_CASE("timers fire in the order of their deadlines, none early") {
  const auto reactor = make_reactor();
  std::vector<int> rung;
  Alarm one(*reactor, rung, 1);
  Alarm two(*reactor, rung, 2);
  Alarm three(*reactor, rung, 3);
  three.timer.arm(at(30ms));
  one.timer.arm(at(10ms));
  two.timer.arm(at(20ms));
  turn_at(*reactor, at(9ms));
  CHECK(rung.empty());
  turn_at(*reactor, at(10ms));
  CHECK(rung == std::vector{1});
  CHECK_FALSE(one.timer.armed());
  turn_at(*reactor, at(1s));
  CHECK(rung == std::vector{1, 2, 3});
}

TEST_CASE("arming again replaces the deadline, never disarms") {
  const auto reactor = make_reactor();
  std::vector<int> rung;
  Alarm one(*reactor, rung, 1);
  Alarm two(*reactor, rung, 2);
  one.timer.arm(at(10ms));
  two.timer.arm(at(20ms));
  one.timer.arm(at(30ms));
  turn_at(*reactor, at(20ms));
  CHECK(rung == std::vector{2});
  one.timer.arm(at(5ms));
  turn_at(*reactor, at(20ms));
  CHECK(rung == std::vector{2, 1});
  one.timer.arm(at(21ms));
  one.timer.arm(never);
  CHECK_FALSE(one.timer.armed());
  turn_at(*reactor, at(1s));
  CHECK(rung.size() == 2);
}

TEST_CASE("a timer may destroy itself and another that is due") {
  const auto reactor = make_reactor();
  std::vector<int> rung;
  auto one = std::make_unique<Alarm>(*reactor, rung, 1);
  auto two = std::make_unique<Alarm>(*reactor, rung, 2);
  one->timer.arm(at(1ms));
  two->timer.arm(at(2ms));
  one->then = [&] {
    two.reset();
    reactor->defer([doomed = std::move(one)] {});
  };
  turn_at(*reactor, at(5ms));
  CHECK(rung == std::vector{1});
  CHECK(one == nullptr);
}

TEST_CASE("a timer that arms itself for now does not hold the turn") {
  const auto reactor = make_reactor();
  std::vector<int> rung;
  Alarm again(*reactor, rung, 1);
  again.then = [&] { again.timer.arm(reactor->now()); };
  again.timer.arm(at(1ms));
  turn_at(*reactor, at(1ms));
  CHECK(rung.size() == 1);
  turn_at(*reactor, at(1ms));
  CHECK(rung.size() == 2);
  again.timer.disarm();
}

TEST_CASE("many timers, armed, moved and disarmed at random, fire exactly as a sorted list would") {
  const auto reactor = make_reactor();
  std::mt19937 random(7);
  std::vector<int> rung;
  std::vector<std::unique_ptr<Alarm>> alarms;
  std::vector<Duration> deadlines(300, Duration::max());
  for (int i = 0; i < 300; ++i) alarms.push_back(std::make_unique<Alarm>(*reactor, rung, i));
  for (int step = 0; step < 3000; ++step) {
    const std::size_t which = random() % alarms.size();
    if (random() % 4 == 0) {
      alarms[which]->timer.disarm();
      deadlines[which] = Duration::max();
    } else {
      deadlines[which] = std::chrono::milliseconds(random() % 1000);
      alarms[which]->timer.arm(at(deadlines[which]));
    }
  }
  turn_at(*reactor, at(500ms));
  std::size_t due = 0;
  for (const Duration deadline : deadlines) due += deadline <= 500ms ? 1U : 0U;
  CHECK(rung.size() == due);
  for (std::size_t i = 0; i < rung.size(); ++i) {
    const Duration deadline = deadlines[static_cast<std::size_t>(rung[i])];
    CHECK(deadline <= 500ms);
    if (i > 0) CHECK(deadlines[static_cast<std::size_t>(rung[i - 1])] <= deadline);
  }
}

TEST_CASE("the wait ends when the earliest timer is due") {
  auto reactor = Reactor::create();
  REQUIRE(reactor);
  std::vector<int> rung;
  Alarm alarm(**reactor, rung, 1);
  alarm.timer.arm(Clock::now() + 3ms);
  REQUIRE((*reactor)->turn());  // one wait is enough, since it is rounded up
  CHECK(rung == std::vector{1});
}
