// The loop: events, stale events, tasks, posts, deferred actions.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/mman.h>

#include <cerrno>
#include <functional>
#include <memory>
#include <string_view>
#include <thread>
#include <vector>

#include "base/sys.h"
#include "reactor/reactor.h"

using namespace ftpd;
using namespace std::chrono_literals;

namespace {

std::unique_ptr<Reactor> make_reactor() {
  auto reactor = Reactor::create();
  REQUIRE(reactor);
  return std::move(*reactor);
}

/// One turn without waiting.
void poll(Reactor& reactor) { REQUIRE(reactor.turn(reactor.now())); }

UniqueFd make_event(unsigned count) { return UniqueFd(sys::eventfd(count, EFD_CLOEXEC | EFD_NONBLOCK)); }

struct Listening {
  Listening(Reactor& reactor, int fd, std::uint32_t interest = EPOLLIN) {
    REQUIRE(watch.start(reactor, fd, interest, Watch::Handler::to<&Listening::on_event>(*this)));
  }
  void on_event(std::uint32_t mask) {
    ++count;
    events = mask;
    if (then) then();
  }
  int count = 0;
  std::uint32_t events = 0;
  std::function<void()> then;
  Watch watch;
};

struct Doing {
  explicit Doing(Reactor& reactor) : task(reactor, Callback<void()>::to<&Doing::run>(*this)) {}
  void run() {
    ++count;
    if (then) then();
  }
  int count = 0;
  std::function<void()> then;
  Task task;
};

int refusals = 0;

}  // namespace

TEST_CASE("a watch hears of its descriptor in every turn while it is ready") {
  const auto reactor = make_reactor();
  const UniqueFd event = make_event(1);
  Listening listening(*reactor, event.get());
  poll(*reactor);
  poll(*reactor);
  CHECK(listening.count == 2);
  CHECK(listening.events == EPOLLIN);
  CHECK(reactor->turns() == 2);
}

TEST_CASE("interest 0 keeps even a hang-up away, and the descriptor comes back") {
  const auto reactor = make_reactor();
  int ends[2];
  REQUIRE(sys::pipe2(ends, O_CLOEXEC | O_NONBLOCK) == 0);
  const UniqueFd reader(ends[0]);
  UniqueFd writer(ends[1]);
  Listening listening(*reactor, reader.get());
  writer.reset();
  listening.watch.set_interest(0);
  poll(*reactor);
  CHECK(listening.count == 0);
  listening.watch.set_interest(EPOLLIN);
  poll(*reactor);
  CHECK(listening.count == 1);
  CHECK(listening.events == EPOLLHUP);
}

TEST_CASE("an exclusive watch is paused and resumed") {
  const auto reactor = make_reactor();
  const UniqueFd event = make_event(1);
  Listening listening(*reactor, event.get(), EPOLLIN | EPOLLEXCLUSIVE);
  poll(*reactor);
  CHECK(listening.count == 1);
  listening.watch.set_interest(0);
  poll(*reactor);
  CHECK(listening.count == 1);
  listening.watch.set_interest(EPOLLIN | EPOLLEXCLUSIVE);
  poll(*reactor);
  CHECK(listening.count == 2);
}

TEST_CASE("setting the same interest makes no system call") {
  const auto reactor = make_reactor();
  const UniqueFd event = make_event(0);
  Listening listening(*reactor, event.get());
  refusals = 0;
  sys::set_fault_hook([](const char*) { return ++refusals, 0; });
  listening.watch.set_interest(EPOLLIN);
  sys::set_fault_hook(nullptr);
  CHECK(refusals == 0);
}

TEST_CASE("a handler that destroys another watch of the same batch silences it") {
  const auto reactor = make_reactor();
  const UniqueFd event_a = make_event(1);
  const UniqueFd event_b = make_event(1);
  auto a = std::make_unique<Listening>(*reactor, event_a.get());
  auto b = std::make_unique<Listening>(*reactor, event_b.get());
  int total = 0;
  a->then = [&] { ++total, b.reset(); };
  b->then = [&] { ++total, a.reset(); };
  poll(*reactor);
  CHECK(total == 1);
}

TEST_CASE("an event for a watch that was replaced in the same slot is dropped") {
  const auto reactor = make_reactor();
  const UniqueFd event_a = make_event(1);
  const UniqueFd event_b = make_event(1);
  const UniqueFd quiet = make_event(0);
  Listening a(*reactor, event_a.get());
  Listening b(*reactor, event_b.get());
  std::unique_ptr<Listening> newcomer;
  const auto replace = [&](Listening& other) {
    if (newcomer) return;
    other.watch.stop();
    newcomer = std::make_unique<Listening>(*reactor, quiet.get());  // takes the free slot
  };
  a.then = [&] { replace(b); };
  b.then = [&] { replace(a); };
  poll(*reactor);
  CHECK(a.count + b.count == 1);
  REQUIRE(newcomer);
  CHECK(newcomer->count == 0);
}

TEST_CASE("an event is dropped when an earlier handler of the batch took the interest away") {
  const auto reactor = make_reactor();
  const UniqueFd event_a = make_event(1);
  const UniqueFd event_b = make_event(1);
  Listening a(*reactor, event_a.get());
  Listening b(*reactor, event_b.get());
  a.then = [&] { b.watch.set_interest(0); };
  b.then = [&] { a.watch.set_interest(0); };
  poll(*reactor);
  CHECK(a.count + b.count == 1);
}

TEST_CASE("more descriptors than a batch holds are all heard in two turns") {
  const auto reactor = make_reactor();
  const UniqueFd event = make_event(1);
  std::vector<UniqueFd> copies;
  std::vector<std::unique_ptr<Listening>> all;
  for (int i = 0; i < 300; ++i) {
    copies.emplace_back(sys::fcntl(event.get(), F_DUPFD_CLOEXEC));
    all.push_back(std::make_unique<Listening>(*reactor, copies.back().get()));
  }
  poll(*reactor);
  poll(*reactor);
  for (const auto& listening : all) CHECK(listening->count >= 1);
}

TEST_CASE("a watch on what epoll can't watch is an error and leaves nothing behind") {
  const auto reactor = make_reactor();
  const UniqueFd file(sys::memfd_create("file", MFD_CLOEXEC));
  struct Ignore {
    void on_event(std::uint32_t) {}
  } ignore;
  Watch watch;
  const auto started =
      watch.start(*reactor, file.get(), EPOLLIN, Watch::Handler::to<&Ignore::on_event>(ignore));
  REQUIRE_FALSE(started);
  CHECK(started.error().number == EPERM);
  CHECK_FALSE(watch.started());
}

TEST_CASE("a watch that epoll did not take back for want of memory returns by itself") {
  const auto reactor = make_reactor();
  const UniqueFd event = make_event(1);
  Listening listening(*reactor, event.get());
  listening.watch.set_interest(0);
  refusals = 0;
  sys::set_fault_hook(
      [](const char* call) { return std::string_view(call) == "epoll_ctl" && ++refusals <= 2 ? ENOMEM : 0; });
  listening.watch.set_interest(EPOLLIN);
  poll(*reactor);
  CHECK(listening.count == 0);
  poll(*reactor);
  sys::set_fault_hook(nullptr);
  CHECK(listening.count == 1);
}

TEST_CASE("a failing epoll_wait ends the loop with an error") {
  const auto reactor = make_reactor();
  sys::set_fault_hook([](const char* call) { return std::string_view(call) == "epoll_wait" ? EBADF : 0; });
  const auto ran = reactor->run();
  sys::set_fault_hook(nullptr);
  REQUIRE_FALSE(ran);
  CHECK(ran.error().number == EBADF);
}

TEST_CASE("a reactor that can't be made says which call failed") {
  for (const char* const call : {"epoll_create1", "eventfd", "epoll_ctl"}) {
    static const char* failing;
    failing = call;
    sys::set_fault_hook([](const char* name) { return std::string_view(name) == failing ? EMFILE : 0; });
    const auto made = Reactor::create();
    sys::set_fault_hook(nullptr);
    REQUIRE_FALSE(made);
    CHECK(made.error().text.starts_with(call));
  }
}

TEST_CASE("a task runs once in the next turn, which does not wait") {
  const auto reactor = make_reactor();
  Doing doing(*reactor);
  doing.task.schedule();
  doing.task.schedule();
  CHECK(doing.task.scheduled());
  REQUIRE(reactor->turn());  // no deadline: would hang if it waited
  CHECK(doing.count == 1);
  CHECK_FALSE(doing.task.scheduled());
  poll(*reactor);
  CHECK(doing.count == 1);
}

TEST_CASE("a task scheduled by a task runs in the turn after") {
  const auto reactor = make_reactor();
  Doing again(*reactor);
  again.then = [&] { again.task.schedule(); };
  again.task.schedule();
  REQUIRE(reactor->turn());
  CHECK(again.count == 1);
  REQUIRE(reactor->turn());
  CHECK(again.count == 2);
}

TEST_CASE("a task may cancel or destroy others, before and after them, while tasks run") {
  const auto reactor = make_reactor();
  Doing first(*reactor);
  auto second = std::make_unique<Doing>(*reactor);
  Doing third(*reactor);
  Doing fourth(*reactor);
  for (Task* const task : {&first.task, &second->task, &third.task, &fourth.task}) task->schedule();
  third.then = [&] {
    first.task.schedule();  // it ran already: the next turn's
    fourth.task.cancel();
    fourth.task.schedule();  // now the next turn's too
  };
  first.then = [&] { second.reset(); };
  poll(*reactor);
  CHECK(first.count == 1);
  CHECK(third.count == 1);
  CHECK(fourth.count == 0);
  first.then = [&] { fourth.task.cancel(); };
  poll(*reactor);
  CHECK(first.count == 2);
  CHECK(fourth.count == 0);
}

TEST_CASE("messages from other threads run on the loop, each thread's in order") {
  const auto reactor = make_reactor();
  constexpr int each = 500;
  std::vector<int> seen[4];
  int left = 4 * each;
  std::vector<std::thread> threads;
  for (auto& mine : seen) {
    threads.emplace_back([&, home = &mine] {
      for (int i = 0; i < each; ++i) {
        reactor->post([&, home, i] {
          home->push_back(i);
          if (--left == 0) reactor->stop();
        });
      }
    });
  }
  REQUIRE(reactor->run());
  for (std::thread& thread : threads) thread.join();
  for (const auto& mine : seen) {
    REQUIRE(mine.size() == each);
    for (int i = 0; i < each; ++i) CHECK(mine[static_cast<std::size_t>(i)] == i);
  }
}

TEST_CASE("a message posted by a message runs in the next turn") {
  const auto reactor = make_reactor();
  int count = 0;
  reactor->post([&] { reactor->post([&] { ++count; }); });
  REQUIRE(reactor->turn());
  CHECK(count == 0);
  REQUIRE(reactor->turn());
  CHECK(count == 1);
}

TEST_CASE("stop from another thread ends run, also when it came first") {
  const auto reactor = make_reactor();
  std::thread stopper([&] { reactor->stop(); });
  REQUIRE(reactor->run());
  stopper.join();
  reactor->stop();
  REQUIRE(reactor->run());
}

TEST_CASE("deferred actions come last in the turn, and those they defer in the next") {
  const auto reactor = make_reactor();
  std::vector<int> order;
  Doing doing(*reactor);
  doing.then = [&] {
    order.push_back(1);
    reactor->defer([&] {
      order.push_back(3);
      reactor->defer([&] { order.push_back(4); });
    });
  };
  doing.task.schedule();
  reactor->post([&] { order.push_back(2); });
  REQUIRE(reactor->turn());
  CHECK(order == std::vector{1, 2, 3});
  REQUIRE(reactor->turn());
  CHECK(order == std::vector{1, 2, 3, 4});
}

TEST_CASE("what was posted or deferred and never ran is destroyed with the reactor") {
  auto reactor = make_reactor();
  const UniqueFd event = make_event(0);
  auto listening = std::make_unique<Listening>(*reactor, event.get());
  auto held = std::make_shared<int>(1);
  reactor->defer([owned = std::move(listening)] {});
  reactor->post([held] {});
  CHECK(held.use_count() == 2);
  reactor.reset();
  CHECK(held.use_count() == 1);
}
