// The rate of a role: how many bytes a connection may move now, and when it may move more.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <utility>

#include "base/clock.h"

namespace ftpd {

/// A token bucket, shared fairly: one direction of one role, for its connections on all loops.
/// Thread-safe, never blocks for long, reads no clock.
///
/// What the rate brings in is split evenly between the claims that want bytes, as it comes in: `level_`
/// is what one that was always there would have had, and each claim remembers how much of that it has
/// used. So nobody has to be woken by anybody else, who comes late finds all that is his, and who leaves
/// gives the rest to the others at once. Where there is no claim, a small burst is saved up.
class Pacer {
 public:
  /// Bytes a second; not 0.
  explicit Pacer(std::uint64_t rate) : rate_(static_cast<double>(rate)) {}

  /// One connection's place in it. Lives on its connection's loop; destroyed, it gives back what it holds.
  class Claim {
   public:
    explicit Claim(std::shared_ptr<Pacer> pacer) : pacer_(std::move(pacer)) {}
    ~Claim() { leave(); }
    Claim(const Claim&) = delete;
    Claim& operator=(const Claim&) = delete;

    /// Bytes that may move now. 0: it waits, and asks again at again().
    [[nodiscard]] std::size_t allowance(TimePoint now);
    /// So many have moved. Where that is more than was allowed, the next ones come later.
    void spend(std::size_t count);
    /// Wants no more for now: what it holds is the others'.
    void leave();

    [[nodiscard]] bool waiting() const { return again_ != never; }
    /// `never` unless it waits.
    [[nodiscard]] TimePoint again() const { return again_; }
    /// Between allowance() and leave().
    [[nodiscard]] bool active() const { return active_; }

   private:
    friend class Pacer;
    std::shared_ptr<Pacer> pacer_;
    double used_ = 0;  // of the pacer's level
    TimePoint again_ = never;
    std::uint32_t granted_ = 0;
    bool active_ = false;
    bool fresh_ = true;   // has never held anything
    bool ahead_ = false;  // what it holds came ahead of those who wait
  };

  /// What is given at once. The more claims, the smaller, so that each has its turn in about `round`,
  /// within bounds: less would cost more than it is worth, more would come in jerks.
  static constexpr Duration round = std::chrono::milliseconds{20};
  static constexpr double smallest_quantum = 4096;
  static constexpr double largest_quantum = 256 * 1024;
  /// What is saved up while nobody wants anything, and what one claim may save up whose loop is busy.
  /// Small enough that nobody who measures the rate for a second sees it.
  static constexpr Duration burst = std::chrono::milliseconds{100};
  static constexpr double smallest_burst = 16 * 1024;
  /// The first bytes of a claim go ahead of those who wait, so that a small request does not stand in
  /// line with large files; no more than this part of the rate does.
  static constexpr std::uint32_t first_bytes = 4096;
  static constexpr unsigned part_ahead = 4;

 private:
  void ask(Claim& claim, TimePoint now);
  void take_back(Claim& claim);
  void bring_in(TimePoint now);
  void join(Claim& claim, TimePoint now);
  [[nodiscard]] bool may_go_ahead(TimePoint now);
  [[nodiscard]] Duration time_of(double bytes) const;
  [[nodiscard]] double in(Duration span) const;
  [[nodiscard]] double burst_bytes() const;
  [[nodiscard]] double quantum() const;

  const double rate_;
  std::mutex mutex_;
  TimePoint brought_in_ = TimePoint::min();
  double level_ = 0;
  double spare_ = 0;     // to be split next; below zero: went ahead, and is taken from what comes in
  double active_ = 0;    // claims
  TimePoint ahead_end_;  // when all that went ahead is through at its part of the rate
};

}  // namespace ftpd
