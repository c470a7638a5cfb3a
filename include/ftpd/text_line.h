// The text dialect: lines that are commands. See ftpd-protocol(7), "Text dialect".
//
// Pure: no socket, file or clock. The idle rule (clients that send no LF) is fed by the owner, who
// has the clock.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace ftpd {

enum class Dialect : std::uint8_t { undecided, frame, text };

/// What the first bytes of a connection say where both dialects are taken. `at_end`: nothing follows.
/// A second byte of 0x20 or more: text; below that, a third byte of 0x00: frame, any other: text; an
/// end before the decision: text (also for no bytes at all).
[[nodiscard]] Dialect sniff_dialect(std::string_view first_bytes, bool at_end);

class TextLines {
 public:
  enum class Step : std::uint8_t {
    need_input,  // no complete line yet
    line,        // `line`: a command, not empty, without its end
    http,        // the first line looks like HTTP: refuse (`bad_request`) and close
    not_text,    // NUL, a control character or bad UTF-8: one `bad_frame` reply frame, then close
    too_long,    // longer than max_header: refuse and close
  };
  struct Outcome {
    Step step = Step::need_input;
    std::size_t consumed = 0;
    std::string_view line;  // a view into the input given
  };

  explicit TextLines(std::uint32_t max_header) : max_header_(max_header) {}

  /// Takes what it can of `input` (read and not consumed, oldest byte first) and says one thing.
  /// Everything but `need_input` and `line` is final. An incomplete line stays unconsumed, so the
  /// owner's buffer holds at least max_header + 2 bytes.
  [[nodiscard]] Outcome advance(std::string_view input);

  /// Does the idle clock run on this input (given to advance() and left unconsumed)? At least two
  /// bytes, no LF seen on this connection, not a line that begins with an HTTP method and a space, not
  /// in the middle of a UTF-8 character, no NUL or control character. While a command runs the owner
  /// stops the clock, and before the clock fires he reads the socket once more.
  [[nodiscard]] bool idle_clock_runs(std::string_view input) const;

  /// The idle time has passed, or the peer's input has ended: what is there is the line.
  /// `need_input` where there is none (all consumed; end of input only: nothing is left).
  [[nodiscard]] Outcome finish(std::string_view input);

 private:
  [[nodiscard]] Step check(std::string_view line) const;
  [[nodiscard]] Outcome judge(std::string_view line, std::size_t consumed);
  std::uint32_t max_header_;
  bool first_ = true;  // no line has been given out yet
  bool seen_lf_ = false;
};

}  // namespace ftpd
