// Pings at a fixed rate; see pinger.h.
#include "pinger.h"

#include <fmt/format.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <array>

#include "load.h"

namespace bench {

namespace {

/// To each server.
constexpr long pings_per_second = 100;
/// Enough to have some on each of the daemon's loops; they take turns.
constexpr int connections = 8;

}  // namespace

/// One connection with the send times of what has not been answered.
struct PingClock::Pinger {
  UniqueFd socket;
  std::string reply;  ///< what must come for each ping
  std::size_t server;
  std::deque<Clock::time_point> sent;
  std::size_t received = 0;  ///< of the oldest reply
};

PingClock::PingClock()
    : request_(ping_request()),
      epoll_(check_fd(::epoll_create1(EPOLL_CLOEXEC), "epoll_create1")),
      timer_(check_fd(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK), "timerfd_create")) {
  watch(timer_.get(), nullptr);
}

std::size_t PingClock::add(std::uint16_t port, const std::string& reply) {
  const auto server = latencies_.size();
  latencies_.emplace_back();
  for (int i = 0; i < connections; ++i) {
    pingers_.push_back(std::make_shared<Pinger>(Pinger{
        .socket = connect_loopback(port), .reply = reply, .server = server, .sent = {}, .received = 0}));
    watch(pingers_.back()->socket.get(), pingers_.back().get());
  }
  return server;
}

std::vector<std::vector<double>> PingClock::run(milliseconds window) {
  for (auto& latencies : latencies_) latencies.clear();
  set_timer(1000000000L / (pings_per_second * static_cast<long>(latencies_.size())));
  const auto end = Clock::now() + window;
  while (Clock::now() < end) turn();
  set_timer(0);
  const auto last = Clock::now() + std::chrono::seconds(5);
  while (outstanding_ > 0) {
    if (Clock::now() > last) throw Broken(fmt::format("{} pings without a reply", outstanding_));
    turn();
  }
  return latencies_;
}

void PingClock::watch(int fd, Pinger* pinger) {
  epoll_event event{.events = EPOLLIN, .data = {.ptr = pinger}};
  check(::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event), "epoll_ctl");
}

void PingClock::set_timer(long nanoseconds) {
  const itimerspec period{.it_interval = {.tv_sec = 0, .tv_nsec = nanoseconds},
                          .it_value = {.tv_sec = 0, .tv_nsec = nanoseconds}};
  check(::timerfd_settime(timer_.get(), 0, &period, nullptr), "timerfd_settime");
}

void PingClock::turn() {
  std::array<epoll_event, 32> events{};
  const auto count = check(::epoll_wait(epoll_.get(), events.data(), events.size(), 100), "epoll_wait");
  const auto now = Clock::now();
  for (const auto& event : std::span(events).first(static_cast<std::size_t>(count))) {
    if (event.data.ptr == nullptr) {
      send_due();
    } else {
      receive(*static_cast<Pinger*>(event.data.ptr), now);
    }
  }
}

void PingClock::send_due() {
  std::uint64_t due = 0;
  if (::read(timer_.get(), &due, sizeof due) != sizeof due) return;
  for (; due > 0; --due) {
    // Servers take turns, and then the connections of each.
    const auto servers = latencies_.size();
    const auto turn = next_++;
    auto& pinger = *pingers_[turn % servers * connections + turn / servers % connections];
    pinger.sent.push_back(Clock::now());
    ++outstanding_;
    send_all(pinger.socket.get(), request_);
  }
}

void PingClock::receive(Pinger& pinger, Clock::time_point now) {
  std::array<char, 4096> buffer{};
  const auto count = check(::recv(pinger.socket.get(), buffer.data(), buffer.size(), MSG_DONTWAIT), "recv");
  if (count == 0) throw Broken("connection closed while a ping is due");
  for (const char byte : std::span(buffer).first(static_cast<std::size_t>(count))) {
    if (pinger.sent.empty()) throw Broken("more replies than pings");
    if (byte != pinger.reply[pinger.received]) throw Broken("a ping got another reply than the first one");
    if (++pinger.received < pinger.reply.size()) continue;
    pinger.received = 0;
    latencies_[pinger.server].push_back(std::chrono::duration<double>(now - pinger.sent.front()).count());
    pinger.sent.pop_front();
    --outstanding_;
  }
}

}  // namespace bench
