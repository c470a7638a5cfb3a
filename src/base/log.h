// The program's log: one line an event, `TIME LEVEL message key=value …`, on standard error.
//
// Libraries (base, wire, reactor, net, store, exec, access, config) never log: they return an Error.
// The server and the daemon log, once, with who, what and why.
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace ftpd::log {

enum class Level : std::uint8_t { error, warning, info, debug };

[[nodiscard]] std::string_view name(Level level);
[[nodiscard]] std::optional<Level> level_from_name(std::string_view name);

/// Process-wide; may be called from any thread.
void set_level(Level level);
[[nodiscard]] bool enabled(Level level);

/// Appends ` key=value`, quoting the value as a JSON string when it is empty or holds a space, a
/// quote, `=` or a control character, so that a peer's bytes can't forge a line or a field.
void append_field(std::string& line, std::string_view key, std::string_view value);

struct Field {
  std::string_view key;
  std::string value;
  Field(std::string_view k, std::string_view v) : key(k), value(v) {}
  Field(std::string_view k, const char* v) : key(k), value(v) {}
  Field(std::string_view k, std::string v) : key(k), value(std::move(v)) {}
  template <class Number>
    requires std::is_arithmetic_v<Number>
  Field(std::string_view k, Number v) : key(k), value(fmt::format("{}", v)) {}
};

/// One write(2) a line. Thread-safe. Costs nothing but a comparison where the level is off.
void write(Level level, std::string_view message, std::initializer_list<Field> fields = {});

}  // namespace ftpd::log
