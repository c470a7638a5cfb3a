// The pool: results come back on the loop, abandoned jobs leave nothing behind.
#include "reactor/offload.h"

#include <doctest/doctest.h>

#include <latch>
#include <memory>
#include <string>
#include <thread>
#include <vector>

using namespace ftpd;

namespace {

std::unique_ptr<Reactor> make_reactor() {
  auto reactor = Reactor::create();
  REQUIRE(reactor);
  return std::move(*reactor);
}

/// Records the thread that destroys it.
struct Tracer {
  explicit Tracer(std::thread::id& out) : destroyed_on(&out) {}
  Tracer(Tracer&& other) noexcept : destroyed_on(std::exchange(other.destroyed_on, nullptr)) {}
  Tracer& operator=(Tracer&&) = delete;
  ~Tracer() {
    if (destroyed_on != nullptr) *destroyed_on = std::this_thread::get_id();
  }
  std::thread::id* destroyed_on;
};

}  // namespace

TEST_CASE("work runs on the pool, its result arrives on the loop") {
  const auto reactor = make_reactor();
  Offload pool(2);
  const auto home = std::this_thread::get_id();
  std::thread::id worked_on;
  std::string result;
  const Job job = pool.submit(
      *reactor,
      [&worked_on] {
        worked_on = std::this_thread::get_id();
        return std::make_unique<std::string>("done");
      },
      [&](std::unique_ptr<std::string> text) {
        CHECK(std::this_thread::get_id() == home);
        result = *text;
        reactor->stop();
      });
  CHECK(job.pending());
  REQUIRE(reactor->run());
  CHECK_FALSE(job.pending());
  CHECK(result == "done");
  CHECK(worked_on != home);
}

TEST_CASE("what the work holds dies on the pool before the result arrives, the rest on the loop") {
  const auto reactor = make_reactor();
  Offload pool(1);
  const auto home = std::this_thread::get_id();
  std::thread::id work_died, result_died, done_died;
  const Job job = pool.submit(
      *reactor, [held = Tracer(work_died), &result_died] { return Tracer(result_died); },
      [&, held = Tracer(done_died)](Tracer) {
        CHECK(work_died != std::thread::id{});
        CHECK(work_died != home);
        reactor->stop();
      });
  REQUIRE(reactor->run());
  CHECK(result_died == home);
  CHECK(done_died == home);
}

TEST_CASE("an abandoned job that has begun runs, and its result is destroyed on the loop") {
  const auto reactor = make_reactor();
  Offload pool(1);
  std::latch begun(1);
  std::latch go_on(1);
  std::thread::id result_died;
  bool called = false;
  {
    const Job job = pool.submit(
        *reactor,
        [&] {
          begun.count_down();
          go_on.wait();
          return Tracer(result_died);
        },
        [&](Tracer) { called = true; });
    begun.wait();
  }
  go_on.count_down();
  REQUIRE(reactor->turn());
  CHECK_FALSE(called);
  CHECK(result_died == std::this_thread::get_id());
}

TEST_CASE("an abandoned job that has not begun is skipped") {
  const auto reactor = make_reactor();
  bool worked = false;
  bool called = false;
  std::thread::id done_died;
  {
    Offload pool(1);
    std::latch go_on(1);
    pool.push([&] { go_on.wait(); });
    Job job = pool.submit(
        *reactor, [&] { return worked = true; },
        [&called, held = Tracer(done_died)](bool) { called = true; });
    CHECK(pool.queued() >= 1);
    job.abandon();
    CHECK_FALSE(job.pending());
    go_on.count_down();
  }
  REQUIRE(reactor->turn());
  CHECK_FALSE(worked);
  CHECK_FALSE(called);
  CHECK(done_died == std::this_thread::get_id());
}

TEST_CASE("a job may be replaced by the next in its own done") {
  const auto reactor = make_reactor();
  Offload pool(1);
  int result = 0;
  Job job;
  job = pool.submit(
      *reactor, [] { return 1; },
      [&](int first) {
        job = pool.submit(
            *reactor, [first] { return first + 1; },
            [&](int second) {
              result = second;
              reactor->stop();
            });
        CHECK(job.pending());
      });
  REQUIRE(reactor->run());
  CHECK(result == 2);
}

TEST_CASE("moving a job keeps it wanted, assigning over one abandons it") {
  const auto reactor = make_reactor();
  Offload pool(1);
  std::latch go_on(1);
  pool.push([&] { go_on.wait(); });
  std::vector<int> results;
  const auto submit = [&](int number) {
    return pool.submit(
        *reactor, [number] { return number; },
        [&](int value) {
          results.push_back(value);
          if (value == 3) reactor->stop();
        });
  };
  Job one = submit(1);
  const Job moved = std::move(one);
  Job two = submit(2);
  two = submit(3);
  go_on.count_down();
  REQUIRE(reactor->run());
  CHECK(results == std::vector{1, 3});
}

TEST_CASE("the pool finishes what is queued before it goes") {
  int done = 0;
  std::mutex mutex;
  {
    Offload pool(3);
    for (int i = 0; i < 200; ++i) {
      pool.push([&] {
        const std::lock_guard lock(mutex);
        ++done;
      });
    }
  }
  CHECK(done == 200);
}

TEST_CASE("jobs of several loops keep to their loops") {
  Offload pool(2);
  std::vector<std::thread> loops;
  for (int i = 0; i < 3; ++i) {
    loops.emplace_back([&pool] {
      auto reactor = Reactor::create();
      const auto home = std::this_thread::get_id();
      std::vector<Job> jobs;
      int left = 100;
      bool elsewhere = false;
      for (int n = 0; n < 100; ++n) {
        jobs.push_back(pool.submit(
            **reactor, [n] { return n; },
            [&](int) {
              elsewhere = elsewhere || std::this_thread::get_id() != home;
              if (--left == 0) (*reactor)->stop();
            }));
      }
      const auto ran = (*reactor)->run();
      if (!ran || elsewhere || left != 0) std::abort();
    });
  }
  for (std::thread& loop : loops) loop.join();
}
