// Invariant: how a stream of frames is split never changes what the machine says of it.
#include <cstdint>
#include <cstdlib>

#include "support/wire_trace.h"

namespace {

using namespace ftpd;

void check(std::string_view stream, const test::Pieces& pieces, test::Answer answer,
           Conversation::Side side) {
  const test::Limits bounds = {.max_header = 300, .discard_limit = 200};
  const std::string whole = test::trace_conversation(stream, test::whole, answer, side, bounds);
  if (test::trace_conversation(stream, pieces, answer, side, bounds) != whole) std::abort();
  if (test::trace_conversation(stream, test::byte_by_byte, answer, side, bounds) != whole) std::abort();
}

}  // namespace

/// The first byte chooses side and answer, the next two the pieces; the rest is the stream.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 3) return 0;
  const std::string stream(data + 3, data + size);
  const auto side = (data[0] & 1U) != 0 ? ftpd::Conversation::Side::client : ftpd::Conversation::Side::daemon;
  const auto answer = (data[0] & 2U) != 0 ? ftpd::test::Answer::at_once : ftpd::test::Answer::at_the_end;
  check(stream, {data[1], data[2]}, answer, side);
  return 0;
}
