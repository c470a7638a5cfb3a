// The bar that a transfer shows on a terminal.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "client/options.h"

namespace ftpd::client {

/// What one line of the bar is made of.
struct ProgressState {
  std::string_view name;  // printable
  std::uint64_t done = 0;
  std::optional<std::uint64_t> total;  // where it is known
  std::chrono::duration<double> elapsed{};
};

/// One line of exactly `columns` or fewer: name, share, bytes, rate, time left. Pure.
[[nodiscard]] std::string progress_line(const ProgressState& state, std::size_t columns);

/// Draws on standard error, at most ten times a second. Does nothing where it is off.
class Progress {
 public:
  explicit Progress(const Options& options);
  ~Progress() { clear(); }
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  [[nodiscard]] bool on() const { return on_; }
  void set_total(std::uint64_t total) { total_ = total; }
  void set_name(std::string_view name);
  /// Bytes so far, in all.
  void update(std::uint64_t done);
  /// The last word: the line stays.
  void finish();
  /// Makes room for a message; the next update draws again.
  void clear();

 private:
  void draw(TimePoint now);
  bool on_;
  bool drawn_ = false;
  std::string name_;
  std::optional<std::uint64_t> total_;
  std::uint64_t done_ = 0;
  TimePoint begin_ = Clock::now();
  TimePoint next_ = begin_;
};

}  // namespace ftpd::client
