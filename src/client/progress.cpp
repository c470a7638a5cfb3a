// The bar that a transfer shows on a terminal.
#include "client/progress.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>

#include "base/sys.h"
#include "client/text.h"

namespace ftpd::client {
namespace {

std::size_t terminal_columns() {
  winsize size{};
  if (sys::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) return size.ws_col;
  return 80;
}

void write_error(std::string_view text) {
  while (!text.empty()) {
    const ssize_t count = sys::write(STDERR_FILENO, text.data(), text.size());
    if (count <= 0) return;
    text.remove_prefix(static_cast<std::size_t>(count));
  }
}

bool wanted(const Options& options) {
  if (options.talk == Talk::quiet) return false;
  switch (options.progress) {
    case ShowProgress::automatic: return ::isatty(STDERR_FILENO) == 1;
    case ShowProgress::always: return true;
    case ShowProgress::never: return false;
  }
  return false;
}

/// The first characters of UTF-8 text, at most `most` of them.
std::string shortened(std::string_view text, std::size_t most) {
  std::size_t characters = 0;
  for (std::size_t at = 0; at < text.size(); ++at) {
    const bool begins = (static_cast<unsigned char>(text[at]) & 0xc0U) != 0x80U;
    if (begins && characters++ == most) return std::string{text.substr(0, at)};
  }
  return std::string{text};
}

}  // namespace

std::string progress_line(const ProgressState& state, std::size_t columns) {
  const double seconds = state.elapsed.count();
  const double rate = seconds > 0 ? static_cast<double>(state.done) / seconds : 0;
  std::string right =
      fmt::format(" {:>9} {:>9}/s", human_size(state.done), human_size(static_cast<std::uint64_t>(rate)));
  std::string share;
  if (state.total) {
    const std::uint64_t total = std::max(*state.total, state.done);
    const double part = total == 0 ? 1 : static_cast<double>(state.done) / static_cast<double>(total);
    share = fmt::format("{:>3}%", static_cast<int>(part * 100));
    const double left = rate > 0 ? static_cast<double>(total - state.done) / rate : 0;
    constexpr double most_shown = 359'999;  // 99:59:59
    const bool known = (rate > 0 || state.done == total) && left <= most_shown;
    right += known ? fmt::format(" {:>8}", human_time(std::chrono::seconds{static_cast<long>(left + 0.5)}))
                   : std::string{"   --:--"};
    constexpr std::size_t bar = 20;
    if (columns >= right.size() + share.size() + bar + 14) {
      const auto full = static_cast<std::size_t>(part * bar);
      share += fmt::format(" [{:<{}}]", std::string(full, '#'), bar);
    }
  }
  right = share + right;
  if (right.size() >= columns) return shortened(right, columns);
  const std::string name = shortened(state.name, columns - right.size() - 1);
  return fmt::format("{:<{}} {}", name, columns - right.size() - 1, right);
}

Progress::Progress(const Options& options) : on_(wanted(options)) {}

void Progress::set_name(std::string_view name) {
  if (on_) name_ = printable(name);
}

void Progress::update(std::uint64_t done) {
  done_ = done;
  if (!on_) return;
  const TimePoint now = Clock::now();
  if (now >= next_) draw(now);
}

void Progress::draw(TimePoint now) {
  // One column stays free: many terminals wrap when the last is written.
  const std::string line = progress_line({name_, done_, total_, now - begin_}, terminal_columns() - 1);
  write_error("\r" + line);
  drawn_ = true;
  next_ = now + std::chrono::milliseconds{100};
}

void Progress::finish() {
  if (!on_ || (!drawn_ && done_ == 0)) return;
  draw(Clock::now());
  write_error("\n");
  drawn_ = false;
  on_ = false;
}

void Progress::clear() {
  if (!drawn_) return;
  write_error("\r" + std::string(terminal_columns() - 1, ' ') + "\r");
  drawn_ = false;
}

}  // namespace ftpd::client
