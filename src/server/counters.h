// What the daemon counts, for `stats`. One set for each loop, so that nobody waits for a cache line.
#pragma once

#include <atomic>
#include <cstdint>

namespace ftpd {

/// Written by one loop, read by any thread.
class Counter {
 public:
  void add(std::uint64_t count = 1) {
    value_.store(value_.load(std::memory_order_relaxed) + count, std::memory_order_relaxed);
  }
  void subtract(std::uint64_t count = 1) {
    value_.store(value_.load(std::memory_order_relaxed) - count, std::memory_order_relaxed);
  }
  [[nodiscard]] std::uint64_t value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<std::uint64_t> value_{0};
};

struct Counters {
  Counter connections_accepted;
  Counter connections_refused;  // over a limit
  Counter connections_open;
  Counter requests;
  Counter failures;  // requests answered with an error
  Counter bytes_received;
  Counter bytes_sent;
  Counter commands_started;
};

}  // namespace ftpd
