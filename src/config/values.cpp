// Durations and sizes, as people write them in a file.
#include <fmt/format.h>

#include <array>
#include <charconv>
#include <limits>
#include <span>

#include "config/load.h"

namespace ftpd {
namespace {

struct Unit {
  std::string_view name;
  std::uint64_t factor;
};

// Both from large to small: printing takes the first that divides.
constexpr std::array<Unit, 5> duration_units = {{{"d", 86'400'000},  // in milliseconds
                                                 {"h", 3'600'000},
                                                 {"m", 60'000},
                                                 {"s", 1000},
                                                 {"ms", 1}}};
constexpr std::array<Unit, 5> size_units = {
    {{"TiB", 1ULL << 40U}, {"GiB", 1ULL << 30U}, {"MiB", 1ULL << 20U}, {"KiB", 1ULL << 10U}, {"", 1}}};

struct Amount {
  std::uint64_t number = 0;
  std::string_view unit;
};

/// Digits, then whatever follows them.
Result<Amount> split(std::string_view text, std::string_view example) {
  Amount amount;
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, amount.number);
  if (error == std::errc::result_out_of_range)
    return fail(Reason::too_large, fmt::format("\"{}\" is too large", text));
  if (error != std::errc{})
    return fail(Reason::invalid, fmt::format("\"{}\" does not begin with a number, as in {}", text, example));
  amount.unit = text.substr(static_cast<std::size_t>(stop - text.data()));
  return amount;
}

const Unit* find_unit(std::span<const Unit> units, std::string_view name) {
  for (const Unit& unit : units) {
    if (unit.name == name) return &unit;
  }
  return nullptr;
}

const Unit& largest_divisor(std::span<const Unit> units, std::uint64_t value) {
  for (const Unit& unit : units) {
    if (value % unit.factor == 0) return unit;
  }
  return units.back();  // 1 divides everything
}

}  // namespace

Result<Duration> parse_duration(std::string_view text) {
  if (text == "0") return Duration::zero();
  const Result<Amount> amount = split(text, "\"30s\"");
  if (!amount) return std::unexpected(amount.error());
  const Unit* const unit = find_unit(duration_units, amount->unit);
  if (unit == nullptr) {
    const std::string_view wrong = amount->unit.empty() ? "has no unit" : "has an unknown unit";
    return fail(Reason::invalid, fmt::format("\"{}\" {} (units: ms, s, m, h, d)", text, wrong));
  }
  constexpr auto most = static_cast<std::uint64_t>(
      std::chrono::duration_cast<std::chrono::milliseconds>(Duration::max()).count());
  if (amount->number > most / unit->factor)
    return fail(Reason::too_large, fmt::format("\"{}\" is too large", text));
  return std::chrono::milliseconds{amount->number * unit->factor};
}

Result<std::uint64_t> parse_size(std::string_view text) {
  const Result<Amount> amount = split(text, "\"64MiB\"");
  if (!amount) return std::unexpected(amount.error());
  const Unit* const unit = find_unit(size_units, amount->unit);
  if (unit == nullptr) {
    return fail(Reason::invalid,
                fmt::format("\"{}\" has an unknown unit (units: KiB, MiB, GiB, TiB; none: bytes)", text));
  }
  if (amount->number > std::numeric_limits<std::uint64_t>::max() / unit->factor)
    return fail(Reason::too_large, fmt::format("\"{}\" is too large", text));
  return amount->number * unit->factor;
}

std::string print_duration(Duration duration) {
  const auto count = std::chrono::ceil<std::chrono::milliseconds>(duration).count();
  if (count <= 0) return "0";
  const auto value = static_cast<std::uint64_t>(count);
  // A single day is said in hours, as people do.
  const std::span units = std::span{duration_units}.subspan(value == duration_units[0].factor ? 1 : 0);
  const Unit& unit = largest_divisor(units, value);
  return fmt::format("{}{}", value / unit.factor, unit.name);
}

std::string print_size(std::uint64_t size) {
  if (size == 0) return "0";
  const Unit& unit = largest_divisor(size_units, size);
  return fmt::format("{}{}", size / unit.factor, unit.name);
}

}  // namespace ftpd
