// The one table of settings: key, type, bounds and help, as data. Loading, checking, printing and the
// error texts are made from it; the defaults are those of a default-constructed struct.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "config/settings.h"

namespace ftpd::settings {

/// The largest size that the protocol can say: 2^53 - 1.
inline constexpr std::uint64_t largest_size = (std::uint64_t{1} << 53U) - 1;

/// The least that `rate` may be, unless it is 0: with less, a single frame's header could take minutes.
inline constexpr std::uint64_t smallest_rate = 1024;

/// The most that `max_header` may be where a listener takes the text dialect: below 8192 the third byte
/// of a length is 0x00, which no text has.
inline constexpr std::uint32_t largest_text_header = 8191;

// --- what a key may hold; `Struct` is the struct that its member belongs to ------------------------

/// An integer, low … high.
template <class Struct>
struct Count {
  unsigned Struct::* member;
  unsigned low;
  unsigned high;
};

/// What a size of 0 says: that number of bytes, or that there is no limit.
enum class Zero : std::uint8_t { bytes, no_limit };

/// Bytes, low … high: "64MiB", or an integer. Zero::no_limit: or 0, whatever `low` is.
template <class Struct>
struct Size {
  std::uint64_t (*get)(const Struct&);
  void (*set)(Struct&, std::uint64_t);
  std::uint64_t low;
  std::uint64_t high;
  Zero zero;
};

/// A duration, low … high: "30ms".
template <class Struct>
struct Span {
  Duration Struct::* member;
  Duration low;
  Duration high;
};

template <class Struct>
struct Flag {
  bool Struct::* member;
};

/// One word of a list; the member's value is the word's index.
template <class Struct>
struct Choice {
  std::size_t (*get)(const Struct&);
  void (*set)(Struct&, std::size_t);
  std::span<const std::string_view> words;
};

enum class Empty : std::uint8_t { allowed, refused };

/// A string without NUL.
template <class Struct>
struct Text {
  std::string Struct::* member;
  Empty empty;
};

/// An array of strings, none of them empty.
template <class Struct>
struct Words {
  std::vector<std::string> Struct::* member;
};

/// A table of strings whose names can be those of environment variables.
template <class Struct>
struct Pairs {
  std::map<std::string, std::string> Struct::* member;
};

template <class Struct>
using Field = std::variant<Count<Struct>, Size<Struct>, Span<Struct>, Flag<Struct>, Choice<Struct>,
                           Text<Struct>, Words<Struct>, Pairs<Struct>>;

template <class Struct>
struct Row {
  std::string_view key;
  Field<Struct> field;
  std::string_view help;  // one line
};

// --- the table -------------------------------------------------------------------------------------

inline constexpr std::array<std::string_view, 3> dialect_words = {"frame", "text", "both"};
inline constexpr std::array<std::string_view, 3> text_reply_words = {"plain", "length", "json"};

[[nodiscard]] std::span<const Row<ServerSettings>> server_rows();
[[nodiscard]] std::span<const Row<ListenSettings>> listen_rows();
[[nodiscard]] std::span<const Row<RoleSettings>> role_rows();
[[nodiscard]] std::span<const Row<CommandSettings>> command_rows();

// --- what the error texts and the manual say of a field --------------------------------------------

struct FieldType {
  std::string type;    // "integer", "size", …, as KeyDescription::type
  std::string bounds;  // "0 … 256", "" for none
};
template <class Struct>
[[nodiscard]] FieldType type_of(const Field<Struct>& field);

/// The field's value as TOML.
template <class Struct>
[[nodiscard]] std::string value_of(const Field<Struct>& field, const Struct& holder);

/// A TOML basic string: quotes, and everything inside escaped that must be.
[[nodiscard]] std::string quoted(std::string_view text);

/// A TOML key: bare where it can be, else quoted.
[[nodiscard]] std::string key_text(std::string_view key);

/// `"frame", "text" or "both"`
[[nodiscard]] std::string choice_text(std::span<const std::string_view> words);

}  // namespace ftpd::settings
