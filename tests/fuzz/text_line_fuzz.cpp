// Invariant: how text is split never changes its lines, and no line holds what is no text.
#include <algorithm>
#include <cstdint>
#include <cstdlib>

#include "support/wire_trace.h"

namespace {

using namespace ftpd;

constexpr std::uint32_t max_header = 40;

void check_lines_are_text(std::string_view input) {
  TextLines lines(max_header);
  for (;;) {
    const auto outcome = lines.advance(input);
    if (outcome.consumed > input.size()) std::abort();
    input.remove_prefix(outcome.consumed);
    if (outcome.step != TextLines::Step::line) break;
    if (outcome.line.empty() || outcome.line.size() > max_header) std::abort();
    if (!simdjson::validate_utf8(outcome.line)) std::abort();
    for (const char c : outcome.line) {
      const auto byte = static_cast<unsigned char>(c);
      if ((byte < 0x20 && c != '\t' && c != '\r') || byte == 0x7F) std::abort();
    }
  }
  // Where the clock may end the line, the line is given out, or refused as HTTP; it is never no text.
  if (lines.idle_clock_runs(input) && lines.finish(input).step == TextLines::Step::not_text) std::abort();
}

/// Three bytes decide, and what is decided stays.
void check_dialect(std::string_view input) {
  Dialect decided = Dialect::undecided;
  for (std::size_t size = 0; size <= std::min<std::size_t>(input.size(), 6); ++size) {
    const Dialect now = sniff_dialect(input.substr(0, size), false);
    if (decided != Dialect::undecided && now != decided) std::abort();
    if (size >= 3 && now == Dialect::undecided) std::abort();
    if (sniff_dialect(input.substr(0, size), true) == Dialect::undecided) std::abort();
    decided = now;
  }
}

}  // namespace

/// The first two bytes choose the pieces; the rest is the text.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  const std::string text(data + 2, data + size);
  const std::string whole = ftpd::test::trace_lines(text, ftpd::test::whole, max_header);
  if (ftpd::test::trace_lines(text, {data[0], data[1]}, max_header) != whole) std::abort();
  if (ftpd::test::trace_lines(text, ftpd::test::byte_by_byte, max_header) != whole) std::abort();
  check_lines_are_text(text);
  check_dialect(text);
  return 0;
}
