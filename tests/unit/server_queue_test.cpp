// The ledgers and the things lent: turns of commands, spooled output, buffers and pipes.
#include <doctest/doctest.h>
#include <fcntl.h>

#include <latch>

#include "server/command_queue.h"
#include "server/lender.h"
#include "server/spool.h"
#include "server_support.h"

using namespace ftpd;
using namespace ftpd::test;

namespace {

std::unique_ptr<Reactor> make_reactor() {
  auto reactor = Reactor::create();
  REQUIRE(reactor.has_value());
  return std::move(*reactor);
}

void turn(Reactor& reactor) { REQUIRE(reactor.turn(reactor.now()).has_value()); }

/// A waiter that keeps what it is given.
struct Waiting {
  Waiting(CommandQueue& queue, Reactor& reactor, std::string& order, char name)
      : place(queue.wait(reactor, [this, &order, name](CommandQueue::Slot granted) {
          slot = std::move(granted);
          order += name;
        })) {}
  std::optional<CommandQueue::Slot> slot;
  CommandQueue::Place place;
};

std::string content_of(Spool& spool) {
  if (!spool.in_file()) return spool.take_memory();
  std::string content(spool.size(), '\0');
  REQUIRE(::pread(spool.file().file->get(), content.data(), content.size(), 0) ==
          static_cast<ssize_t>(content.size()));
  return content;
}

struct Pipe {
  Pipe() {
    int ends[2];
    REQUIRE(::pipe2(ends, O_CLOEXEC | O_NONBLOCK) == 0);
    reader.reset(ends[0]);
    writer.reset(ends[1]);
  }
  UniqueFd reader;
  UniqueFd writer;
};

}  // namespace

// --- turns

TEST_CASE("as many commands run at once as the limit says, and no more") {
  const auto queue = std::make_shared<CommandQueue>(2);
  auto first = queue->try_take();
  CHECK(queue->running() == 1);
  auto second = queue->try_take();
  REQUIRE(first.has_value());
  REQUIRE(second.has_value());
  CHECK_FALSE(queue->try_take().has_value());
  CHECK(queue->running() == 2);
  first.reset();
  CHECK(queue->running() == 1);
  CHECK(queue->try_take().has_value());  // and is dropped again
  CHECK(queue->running() == 1);
}

TEST_CASE("a slot that is moved is given back once") {
  const auto queue = std::make_shared<CommandQueue>(1);
  {
    auto slot = queue->try_take();
    CommandQueue::Slot other = std::move(*slot);
    slot.reset();
    CHECK(queue->running() == 1);
    CommandQueue::Slot third;
    third = std::move(other);
    CHECK(queue->running() == 1);
  }
  CHECK(queue->running() == 0);
}

TEST_CASE("turns go to those who wait in the order in which they came") {
  const auto queue = std::make_shared<CommandQueue>(1);
  const auto reactor = make_reactor();
  auto running = queue->try_take();
  std::string order;
  Waiting a(*queue, *reactor, order, 'a');
  Waiting b(*queue, *reactor, order, 'b');
  Waiting c(*queue, *reactor, order, 'c');
  turn(*reactor);
  CHECK(order.empty());

  running.reset();
  CHECK_FALSE(queue->try_take().has_value());  // the turn is a's, though he does not know it yet
  turn(*reactor);
  CHECK(order == "a");
  a.slot.reset();
  turn(*reactor);
  CHECK(order == "ab");
  b.slot.reset();
  turn(*reactor);
  CHECK(order == "abc");
  CHECK(queue->running() == 1);
  c.slot.reset();
  CHECK(queue->running() == 0);
}

TEST_CASE("nobody overtakes those who wait") {
  const auto queue = std::make_shared<CommandQueue>(2);
  const auto reactor = make_reactor();
  auto one = queue->try_take();
  auto two = queue->try_take();
  std::string order;
  Waiting a(*queue, *reactor, order, 'a');
  Waiting b(*queue, *reactor, order, 'b');
  one.reset();
  CHECK_FALSE(queue->try_take().has_value());
  two.reset();
  turn(*reactor);
  CHECK(order == "ab");
}

TEST_CASE("a turn that became free before the queue was entered is granted all the same") {
  const auto queue = std::make_shared<CommandQueue>(1);
  const auto reactor = make_reactor();
  std::string order;
  Waiting a(*queue, *reactor, order, 'a');
  CHECK(queue->running() == 1);
  turn(*reactor);
  CHECK(order == "a");
}

TEST_CASE("whoever leaves the queue is not called, and the next one moves up") {
  const auto queue = std::make_shared<CommandQueue>(1);
  const auto reactor = make_reactor();
  auto running = queue->try_take();
  std::string order;
  auto a = std::make_unique<Waiting>(*queue, *reactor, order, 'a');
  Waiting b(*queue, *reactor, order, 'b');

  SUBCASE("before his turn") {
    a.reset();
    running.reset();
  }
  SUBCASE("between his turn and its telling") {
    running.reset();
    a.reset();
    turn(*reactor);  // which passes the turn on
  }
  turn(*reactor);
  CHECK(order == "b");
  b.slot.reset();
  CHECK(queue->running() == 0);
}

TEST_CASE("a turn that was on its way to a loop that has ended goes to the next one") {
  const auto queue = std::make_shared<CommandQueue>(1);
  auto ending = make_reactor();
  const auto reactor = make_reactor();
  auto running = queue->try_take();
  std::string order;
  auto a = std::make_unique<Waiting>(*queue, *ending, order, 'a');
  Waiting b(*queue, *reactor, order, 'b');
  running.reset();
  a.reset();
  ending.reset();
  turn(*reactor);
  CHECK(order == "b");
}

TEST_CASE("loops that take turns from each other never run more than the limit, and none is forgotten") {
  constexpr unsigned limit = 3;
  constexpr unsigned each = 200;
  const auto queue = std::make_shared<CommandQueue>(limit);
  std::atomic<unsigned> at_once{0};
  std::atomic<unsigned> most{0};
  std::atomic<unsigned> granted{0};
  const auto loop = [&] {
    const auto reactor = make_reactor();
    std::vector<CommandQueue::Place> places(each);
    std::deque<CommandQueue::Slot> held;
    unsigned mine = 0;
    for (CommandQueue::Place& place : places) {
      place = queue->wait(*reactor, [&](CommandQueue::Slot slot) {
        const unsigned now = ++at_once;
        for (unsigned seen = most; now > seen && !most.compare_exchange_weak(seen, now);) {
        }
        held.push_back(std::move(slot));
        ++mine;
        reactor->defer([&] {
          --at_once;
          held.pop_front();
        });
      });
    }
    while (mine < each) {
      if (!reactor->turn(Clock::now() + std::chrono::seconds(5))) return;
    }
    granted += mine;
  };
  std::thread first(loop);
  std::thread second(loop);
  first.join();
  second.join();
  CHECK(granted == 2 * each);
  CHECK(most <= limit);
  CHECK(queue->running() == 0);
}

// --- spooled output

TEST_CASE("output stays in memory up to the limit and moves to a file beyond it") {
  for (const std::size_t size : {Spool::memory_limit - 1, Spool::memory_limit, Spool::memory_limit + 1}) {
    CAPTURE(size);
    Offload pool(1);
    Spool spool(pool);
    const std::string half(Spool::memory_limit / 2, 'a');
    const std::string rest(size - half.size(), 'b');
    REQUIRE(spool.append(half).has_value());
    REQUIRE(spool.append(rest).has_value());
    CHECK(spool.size() == size);
    CHECK(spool.in_file() == (size > Spool::memory_limit));
    CHECK(content_of(spool) == half + rest);
  }
}

TEST_CASE("an empty spool has no content and no file") {
  Offload pool(1);
  Spool spool(pool);
  REQUIRE(spool.append("").has_value());
  CHECK(spool.size() == 0);
  CHECK_FALSE(spool.in_file());
  CHECK(spool.take_memory().empty());
}

TEST_CASE("a spool in a file takes bytes straight from a pipe, in order") {
  Offload pool(1);
  Spool spool(pool);
  const std::string start(Spool::memory_limit + 1, 's');
  REQUIRE(spool.append(start).has_value());
  Pipe pipe;

  const auto empty = spool.splice_from(pipe.reader.get(), 100);
  REQUIRE_FALSE(empty.has_value());
  CHECK(empty.error().number == EAGAIN);

  REQUIRE(::write(pipe.writer.get(), "hello", 5) == 5);
  CHECK(spool.splice_from(pipe.reader.get(), 3).value_or(0) == 3);
  CHECK(spool.splice_from(pipe.reader.get(), 100).value_or(0) == 2);
  REQUIRE(spool.append("!").has_value());
  pipe.writer.reset();
  CHECK(spool.splice_from(pipe.reader.get(), 100).value_or(1) == 0);
  CHECK(spool.size() == start.size() + 6);
  CHECK(content_of(spool) == start + "hello!");
}

TEST_CASE("a spool that can get no file says so") {
  Offload pool(1);
  Spool spool(pool);
  const Faults faults({.call = "memfd_create", .number = EMFILE});
  const auto kept = spool.append(std::string(Spool::memory_limit + 1, 'x'));
  REQUIRE_FALSE(kept.has_value());
  CHECK(kept.error().number == EMFILE);
}

TEST_CASE("a spool that can't be written says so") {
  Offload pool(1);
  Spool spool(pool);
  const Faults faults({.call = "pwrite", .number = ENOSPC});
  const auto kept = spool.append(std::string(Spool::memory_limit + 1, 'x'));
  REQUIRE_FALSE(kept.has_value());
  CHECK(kept.error().reason == Reason::no_space);
}

// --- things lent

TEST_CASE("a buffer that came back is lent again, empty") {
  BufferLender lender(1000);
  auto buffer = lender.borrow();
  CHECK(buffer->capacity() == 1000);
  Buffer* const same = buffer.get();
  buffer->filled(10);
  lender.give_back(std::move(buffer));
  const auto again = lender.borrow();
  CHECK(again.get() == same);
  CHECK(again->empty());
  CHECK(lender.borrow().get() != same);
}

TEST_CASE("no more than some buffers and pipes are kept for later") {
  BufferLender buffers(16);
  std::vector<std::unique_ptr<Buffer>> all;
  for (int i = 0; i < 1000; ++i) all.push_back(buffers.borrow());
  for (auto& buffer : all) buffers.give_back(std::move(buffer));

  const std::size_t before = open_descriptors();
  {
    PipeLender pipes;
    std::vector<std::unique_ptr<SplicePipe>> borrowed;
    for (int i = 0; i < 40; ++i) {
      auto pipe = pipes.borrow();
      REQUIRE(pipe.has_value());
      borrowed.push_back(std::move(*pipe));
    }
    CHECK(open_descriptors() == before + 80);
    for (auto& pipe : borrowed) pipes.give_back(std::move(pipe));
    CHECK(open_descriptors() == before + 32);
  }
  CHECK(open_descriptors() == before);
}

TEST_CASE("a pipe knows what it takes, and one that came back is lent again") {
  PipeLender lender;
  auto pipe = lender.borrow();
  REQUIRE(pipe.has_value());
  CHECK((*pipe)->capacity >= 4096);
  CHECK((*pipe)->capacity == static_cast<std::size_t>(::fcntl((*pipe)->write_end.get(), F_GETPIPE_SZ)));
  CHECK((::fcntl((*pipe)->read_end.get(), F_GETFL) & O_NONBLOCK) != 0);
  CHECK((::fcntl((*pipe)->write_end.get(), F_GETFD) & FD_CLOEXEC) != 0);
  const int number = (*pipe)->read_end.get();
  lender.give_back(std::move(*pipe));
  const auto again = lender.borrow();
  REQUIRE(again.has_value());
  CHECK((*again)->read_end.get() == number);
}

TEST_CASE("a pipe that may not grow is lent as it is") {
  PipeLender lender;
  const Faults faults({.call = "fcntl", .nth = 1, .number = EPERM});
  const auto pipe = lender.borrow();
  REQUIRE(pipe.has_value());
  CHECK((*pipe)->capacity == 65536);
}

TEST_CASE("without a descriptor there is no pipe, and nothing is lost") {
  const std::size_t before = open_descriptors();
  PipeLender lender;
  {
    const Faults faults({.call = "pipe2", .number = EMFILE});
    const auto pipe = lender.borrow();
    REQUIRE_FALSE(pipe.has_value());
    CHECK(pipe.error().number == EMFILE);
  }
  CHECK(lender.borrow().has_value());
  CHECK(open_descriptors() == before);
}
