// Durations, sizes and near misses.
#include <doctest/doctest.h>

#include <array>
#include <chrono>
#include <limits>

#include "config/load.h"
#include "config/suggest.h"

namespace ftpd {
namespace {

using namespace std::chrono_literals;

std::string duration_error(std::string_view text) {
  const Result<Duration> parsed = parse_duration(text);
  return parsed ? "" : parsed.error().text;
}
std::string size_error(std::string_view text) {
  const Result<std::uint64_t> parsed = parse_size(text);
  return parsed ? "" : parsed.error().text;
}

TEST_CASE("durations are a number and a unit") {
  CHECK(parse_duration("30ms").value() == 30ms);
  CHECK(parse_duration("10s").value() == 10s);
  CHECK(parse_duration("5m").value() == 5min);
  CHECK(parse_duration("2h").value() == 2h);
  CHECK(parse_duration("1d").value() == 24h);
  CHECK(parse_duration("0").value() == 0s);
  CHECK(parse_duration("0s").value() == 0s);
}

TEST_CASE("a duration without a unit, or with more than number and unit, is refused") {
  CHECK(duration_error("30") == "\"30\" has no unit (units: ms, s, m, h, d)");
  CHECK(duration_error("30sec") == "\"30sec\" has an unknown unit (units: ms, s, m, h, d)");
  for (const char* text :
       {"", " 30s", "30s ", "30 s", "-30s", "+30s", "s", "1h30m", "1.5s", "0x10s", "30S"}) {
    CAPTURE(text);
    CHECK_FALSE(duration_error(text).empty());
  }
}

TEST_CASE("a duration beyond the clock's range is refused, the last one below is not") {
  const auto most = std::chrono::duration_cast<std::chrono::milliseconds>(Duration::max());
  CHECK(parse_duration(std::to_string(most.count()) + "ms").value() == most);
  CHECK(parse_duration(std::to_string(most.count() + 1) + "ms").error().reason == Reason::too_large);
  CHECK(parse_duration("106751d").has_value());
  CHECK(parse_duration("106752d").error().reason == Reason::too_large);
  CHECK(parse_duration("18446744073709551616s").error().reason == Reason::too_large);
}

TEST_CASE("sizes are bytes, or a number and a binary unit") {
  CHECK(parse_size("8191").value() == 8191);
  CHECK(parse_size("0").value() == 0);
  CHECK(parse_size("4KiB").value() == 4096);
  CHECK(parse_size("64MiB").value() == 64U << 20U);
  CHECK(parse_size("1GiB").value() == 1U << 30U);
  CHECK(parse_size("2TiB").value() == std::uint64_t{2} << 40U);
}

TEST_CASE("a size with another unit or with anything around it is refused") {
  CHECK(size_error("64MB") == "\"64MB\" has an unknown unit (units: KiB, MiB, GiB, TiB; none: bytes)");
  for (const char* text : {"", " 1", "1 ", "64 MiB", "-1", "+1", "KiB", "1.5GiB", "1kib", "1KiBKiB"}) {
    CAPTURE(text);
    CHECK_FALSE(size_error(text).empty());
  }
}

TEST_CASE("a size beyond 64 bits is refused, the last one below is not") {
  CHECK(parse_size("18446744073709551615").value() == std::numeric_limits<std::uint64_t>::max());
  CHECK(parse_size("18446744073709551616").error().reason == Reason::too_large);
  CHECK(parse_size("16777215TiB").has_value());
  CHECK(parse_size("16777216TiB").error().reason == Reason::too_large);
}

TEST_CASE("values print in the largest unit that says them exactly (one day in hours), and parse back") {
  CHECK(print_duration(0s) == "0");
  CHECK(print_duration(1500ms) == "1500ms");
  CHECK(print_duration(90s) == "90s");
  CHECK(print_duration(10min) == "10m");
  CHECK(print_duration(24h) == "24h");
  CHECK(print_duration(48h) == "2d");
  CHECK(print_duration(1us) == "1ms");
  CHECK(print_size(0) == "0");
  CHECK(print_size(8191) == "8191");
  CHECK(print_size(65536) == "64KiB");
  CHECK(print_size(std::uint64_t{3} << 40U) == "3TiB");
  for (const std::uint64_t size : {1ULL, 1023ULL, 1024ULL, 1025ULL, 9007199254740991ULL}) {
    CHECK(parse_size(print_size(size)).value() == size);
  }
  for (const Duration duration :
       {Duration{1ms}, Duration{61s}, Duration{24h}, Duration{25h}, Duration{365 * 24h}}) {
    CHECK(parse_duration(print_duration(duration)).value() == duration);
  }
}

TEST_CASE("the nearest name is the one that a typing error was meant for") {
  constexpr std::array<std::string_view, 4> known = {"max_header", "max_connections", "log", "root"};
  CHECK(settings::nearest("max_heder", known) == "max_header");
  CHECK(settings::nearest("max_haeder", known) == "max_header");
  CHECK(settings::nearest("max-header", known) == "max_header");
  CHECK(settings::nearest("maxheader", known) == "max_header");
  CHECK(settings::nearest("lgo", known) == "log");
  CHECK(settings::nearest("max_header", known) == "max_header");
  CHECK(settings::nearest("colour", known).empty());
  CHECK(settings::nearest("x", known).empty());
  CHECK(settings::nearest("", known).empty());
  CHECK(settings::nearest(std::string(100000, 'm'), known).empty());
}

}  // namespace
}  // namespace ftpd
