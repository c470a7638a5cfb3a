// The rate of a role, with a clock that the test moves.
#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <limits>
#include <memory>
#include <numeric>
#include <thread>
#include <vector>

#include "server/pacer.h"

namespace ftpd {
namespace {

using namespace std::chrono_literals;

constexpr std::uint64_t MiB = 1U << 20U;
constexpr std::uint64_t unlimited = std::numeric_limits<std::uint64_t>::max();

/// A connection: what it would move by itself, how late its loop is, how much one system call takes.
struct Peer {
  std::uint64_t appetite = unlimited;  // bytes a second
  Duration late{};                     // after the time that it was told
  std::size_t step = unlimited;

  std::shared_ptr<Pacer::Claim> claim{};
  std::uint64_t moved = 0;
  std::uint64_t hungry_for = 0;  // bytes at hand
};

/// Connections of one pacer, turned by a clock of a millisecond, as epoll's is.
class Loop {
 public:
  Loop(std::uint64_t rate, std::vector<Peer> peers)
      : pacer_(std::make_shared<Pacer>(rate)), peers_(std::move(peers)) {
    for (Peer& peer : peers_) join(peer);
  }

  void run(Duration span) {
    for (const TimePoint until = now_ + span; now_ < until; now_ += 1ms) {
      for (Peer& peer : peers_) turn(peer);
    }
  }
  /// Nobody does anything.
  void pass(Duration span) { now_ += span; }

  void join(Peer& peer) { peer.claim = std::make_shared<Pacer::Claim>(pacer_); }
  void leave(Peer& peer) { peer.claim.reset(); }

  [[nodiscard]] Peer& peer(std::size_t index) { return peers_[index]; }
  [[nodiscard]] std::uint64_t moved() const {
    return std::accumulate(peers_.begin(), peers_.end(), std::uint64_t{0},
                           [](std::uint64_t sum, const Peer& peer) { return sum + peer.moved; });
  }
  void forget_moved() {
    for (Peer& peer : peers_) peer.moved = 0;
  }
  [[nodiscard]] const std::shared_ptr<Pacer>& pacer() const { return pacer_; }
  [[nodiscard]] TimePoint now() const { return now_; }

 private:
  void turn(Peer& peer) {
    if (peer.claim == nullptr) return;
    if (peer.appetite == unlimited) {
      peer.hungry_for = unlimited;
    } else {
      peer.hungry_for += peer.appetite / 1000;
    }
    if (peer.claim->waiting() && now_ < peer.claim->again() + peer.late) return;
    while (peer.hungry_for > 0) {
      const std::size_t allowed = peer.claim->allowance(now_);
      if (allowed == 0) return;
      const std::size_t count = std::min({std::uint64_t{allowed}, peer.hungry_for, std::uint64_t{peer.step}});
      peer.claim->spend(count);
      peer.moved += count;
      if (peer.hungry_for != unlimited) peer.hungry_for -= count;
    }
    peer.claim->leave();
  }

  std::shared_ptr<Pacer> pacer_;
  TimePoint now_{1h};
  std::vector<Peer> peers_;
};

/// Within 2 % of what `rate` gives in `span`.
void check_rate(std::uint64_t moved, std::uint64_t rate, std::chrono::seconds span) {
  const auto wanted = static_cast<double>(rate) * static_cast<double>(span.count());
  CHECK(static_cast<double>(moved) == doctest::Approx(wanted).epsilon(0.02));
}

/// The largest share over the smallest.
double unfairness(Loop& loop, std::size_t count) {
  std::vector<std::uint64_t> shares;
  for (std::size_t i = 0; i < count; ++i) shares.push_back(loop.peer(i).moved);
  const auto [least, most] = std::ranges::minmax(shares);
  return static_cast<double>(most) / static_cast<double>(std::max<std::uint64_t>(least, 1));
}

}  // namespace

TEST_CASE("in the long run as much passes as the rate says, for few and for many, slow and fast") {
  struct Row {
    std::uint64_t rate;
    std::size_t claims;
  };
  for (const auto& [rate, claims] :
       {Row{2 * MiB, 1}, Row{2 * MiB, 3}, Row{2 * MiB, 50}, Row{64 * 1024, 50}, Row{1024, 1}, Row{1024, 3},
        Row{1024 * MiB, 1}, Row{1024 * MiB, 50}, Row{3'333'333, 7}}) {
    CAPTURE(rate);
    CAPTURE(claims);
    Loop loop(rate, std::vector<Peer>(claims, Peer{}));
    loop.run(2s);
    loop.forget_moved();
    const auto span = rate > 100'000 ? 20s : 2000s;
    loop.run(span);
    check_rate(loop.moved(), rate, span);
  }
}

TEST_CASE("loops that are late and calls that take little cost nothing of the rate") {
  Loop loop(2 * MiB, {Peer{.late = 15ms}, Peer{.step = 1000}, Peer{.late = 5ms, .step = 16384}});
  loop.run(2s);
  loop.forget_moved();
  loop.run(20s);
  check_rate(loop.moved(), 2 * MiB, 20s);
  CHECK(unfairness(loop, 3) < 2);
}

TEST_CASE("who wants the same gets the same, whoever came first") {
  for (const std::size_t claims : {2U, 3U, 50U}) {
    CAPTURE(claims);
    Loop loop(2 * MiB, std::vector<Peer>(claims, Peer{}));
    for (std::size_t i = 1; i < claims; ++i) loop.leave(loop.peer(i));
    loop.run(3s);
    for (std::size_t i = 1; i < claims; ++i) loop.join(loop.peer(i));
    loop.run(1s);
    loop.forget_moved();
    loop.run(20s);
    CHECK(unfairness(loop, claims) < 1.05);
  }
}

TEST_CASE("who wants less than his share gets all of it, and the others share what he leaves") {
  Loop loop(1 * MiB, {Peer{.appetite = 20'000}, Peer{.appetite = 100'000}, Peer{}, Peer{}});
  loop.run(2s);
  loop.forget_moved();
  loop.run(20s);
  check_rate(loop.peer(0).moved, 20'000, 20s);
  check_rate(loop.peer(1).moved, 100'000, 20s);
  check_rate(loop.peer(2).moved, (1 * MiB - 120'000) / 2, 20s);
  check_rate(loop.peer(3).moved, (1 * MiB - 120'000) / 2, 20s);
}

TEST_CASE("less than the rate passes as if there were none") {
  Loop loop(1 * MiB, {Peer{.appetite = 300'000}, Peer{.appetite = 200'000}});
  loop.run(10s);
  CHECK(loop.peer(0).moved == 3'000'000);
  CHECK(loop.peer(1).moved == 2'000'000);
}

TEST_CASE("a pause saves up a tenth of a second at most, or 16 KiB") {
  struct Row {
    std::uint64_t rate;
    std::uint64_t burst;
  };
  for (const auto& [rate, burst] : {Row{4 * MiB, 4 * MiB / 10}, Row{8192, 16 * 1024}}) {
    CAPTURE(rate);
    Loop loop(rate, {Peer{}});
    loop.run(5s);
    loop.leave(loop.peer(0));
    loop.pass(1h);
    loop.join(loop.peer(0));
    loop.forget_moved();
    loop.run(1ms);
    CHECK(loop.moved() >= burst);
    CHECK(loop.moved() <= burst + std::max<std::uint64_t>(4096, rate / 50) + rate / 1000);
  }
}

TEST_CASE("as much is there before the first byte, and no more") {
  Loop loop(2 * MiB, {Peer{}});
  loop.run(1ms);
  CHECK(loop.moved() >= 2 * MiB / 10);
  loop.run(999ms);
  CHECK(loop.moved() >= 2 * MiB);
  CHECK(loop.moved() <= 2 * MiB + 2 * MiB / 10 + 1);
}

TEST_CASE("what those who leave would have had is the others' at once") {
  Loop loop(2 * MiB, std::vector<Peer>(50, Peer{}));
  loop.run(3s);
  for (std::size_t i = 1; i < 50; ++i) loop.leave(loop.peer(i));
  loop.forget_moved();
  loop.run(1s);
  CHECK(loop.peer(0).moved >= 2 * MiB * 98 / 100);
  CHECK(loop.peer(0).moved <= 2 * MiB + 50 * Pacer::smallest_quantum);  // what they had and did not use
}

TEST_CASE("the same, where a round of all takes long") {
  Loop loop(16 * 1024, std::vector<Peer>(50, Peer{}));  // a round is 12 s
  loop.run(60s);
  for (std::size_t i = 5; i < 50; ++i) loop.leave(loop.peer(i));
  loop.forget_moved();
  loop.run(20s);
  CHECK(loop.moved() >= 16 * 1024 * 16);
  CHECK(loop.moved() <= 16 * 1024 * 20 + 50 * Pacer::smallest_quantum);
}

TEST_CASE("what was granted and is not used goes back") {
  const auto pacer = std::make_shared<Pacer>(1 * MiB);
  TimePoint now{1h};
  std::uint64_t moved = 0;
  for (int i = 0; i < 10'000; ++i) {
    Pacer::Claim claim(pacer);
    const std::size_t allowed = claim.allowance(now);
    REQUIRE(allowed > 0);
    claim.spend(1);
    ++moved;
  }
  CHECK(moved == 10'000);
}

TEST_CASE("a small request goes ahead of those who wait") {
  Loop loop(256 * 1024, std::vector<Peer>(50, Peer{}));  // each waits most of a second
  loop.run(5s);
  loop.forget_moved();
  for (int i = 0; i < 1000; ++i) {
    Pacer::Claim small(loop.pacer());
    REQUIRE(small.allowance(loop.now()) >= Pacer::first_bytes);
    small.spend(200);
    small.leave();
    loop.run(100ms);
  }
  check_rate(loop.moved() + 1000 * 200, 256 * 1024, 100s);
}

TEST_CASE("newcomers that take all they can leave three quarters to those who wait") {
  Loop loop(256 * 1024, std::vector<Peer>(50, Peer{}));
  loop.run(5s);
  loop.forget_moved();
  std::uint64_t ahead = 0;
  for (int i = 0; i < 100'000; ++i) {
    for (int j = 0; j < 3; ++j) {
      Pacer::Claim greedy(loop.pacer());
      const std::size_t allowed = greedy.allowance(loop.now());
      greedy.spend(allowed);
      ahead += allowed;
    }
    loop.run(1ms);
  }
  check_rate(loop.moved() + ahead, 256 * 1024, 100s);
  check_rate(ahead, 256 * 1024 / Pacer::part_ahead, 100s);
}

TEST_CASE("who moves more than he may waits for it, and if he leaves, the others do") {
  const auto pacer = std::make_shared<Pacer>(1 * MiB);
  const TimePoint now{1h};
  Pacer::Claim first(pacer);
  Pacer::Claim second(pacer);
  CHECK(first.allowance(now) > 0);
  first.spend(1 * MiB);
  CHECK(first.allowance(now) == 0);
  CHECK(first.waiting());
  CHECK(first.again() > now);

  const std::size_t ahead = second.allowance(now);
  CHECK(ahead == Pacer::first_bytes);
  second.spend(ahead);
  CHECK(first.allowance(now + 850ms) == 0);
  CHECK(second.allowance(now + 850ms) > 0);
  first.leave();
  second.leave();

  Pacer::Claim third(pacer);
  const std::size_t granted = third.allowance(now + 850ms);
  CHECK(granted == Pacer::first_bytes);
  third.spend(granted);
  CHECK(third.allowance(now + 900ms) == 0);
  CHECK(third.allowance(now + 950ms) > 0);
  CHECK(third.again() == never);
}

TEST_CASE("a claim that waits is told a time, and none that is over") {
  const auto pacer = std::make_shared<Pacer>(1024);
  TimePoint now{1h};
  Pacer::Claim claim(pacer);
  std::size_t asked = 0;
  std::size_t moved = 0;
  while (moved < 100 * 1024) {
    const std::size_t allowed = claim.allowance(now);
    ++asked;
    if (allowed == 0) {
      REQUIRE(claim.again() > now);
      now = claim.again();
    }
    claim.spend(allowed);
    moved += allowed;
  }
  CHECK(asked < 500);  // asks again a few times for each quantum, not all the time
}

TEST_CASE("loops may share a pacer") {
  const auto pacer = std::make_shared<Pacer>(64 * MiB);
  std::atomic<std::uint64_t> moved{0};
  const auto loop = [&] {
    for (int i = 0; i < 300; ++i) {
      Pacer::Claim claim(pacer);
      TimePoint now = TimePoint{1h} + i * 1ms;
      for (int j = 0; j < 10; ++j) {
        const std::size_t allowed = claim.allowance(now);
        claim.spend(allowed / 2);
        moved += allowed / 2;
      }
    }
  };
  std::thread first(loop);
  std::thread second(loop);
  std::thread third(loop);
  first.join();
  second.join();
  third.join();
  CHECK(moved > 0);
  CHECK(moved <= 64 * MiB / 2);  // 0.3 s, the burst and what went ahead
}

}  // namespace ftpd
