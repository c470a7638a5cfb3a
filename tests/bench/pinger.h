// Pings at a fixed rate, and how long each one's reply takes.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "bench.h"

namespace bench {

/// Pings servers in turn at a fixed rate, whether or not earlier pings were answered: a slow reply does not
/// thin out the pings that would show how slow it is.
class PingClock {
 public:
  PingClock();

  /// Adds connections to a server, which must answer every ping with exactly `reply`; returns its place in
  /// what `run` returns.
  std::size_t add(std::uint16_t port, const std::string& reply);

  /// The latencies of every server's pings in seconds.
  std::vector<std::vector<double>> run(milliseconds window);

 private:
  struct Pinger;

  void watch(int fd, Pinger* pinger);
  void set_timer(long nanoseconds);
  void turn();
  void send_due();
  void receive(Pinger& pinger, Clock::time_point now);

  std::string request_;
  UniqueFd epoll_;
  UniqueFd timer_;
  std::vector<std::shared_ptr<Pinger>> pingers_;
  std::size_t next_ = 0;
  int outstanding_ = 0;
  std::vector<std::vector<double>> latencies_;
};

}  // namespace bench
