// A frame's header: a JSON object, checked whole, read by field. See ftpd-protocol(7), "Frame".
//
// Pure: no socket, file or clock.
#pragma once

#include <simdjson.h>

#include <cstdint>
#include <expected>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "ftpd/limits.h"

namespace ftpd {

/// Why a field can't be used: for the text of a `bad_request`.
struct FieldError {
  std::string text;  // "offset: a number, must be an integer from 0 to 9007199254740991"
};
template <class T>
using Field = std::expected<std::optional<T>, FieldError>;  // absent is not an error

/// A parsed header. A view into the HeaderParser that made it: valid until that parser's next parse
/// or destruction, so an operation copies what it keeps.
class Header {
 public:
  explicit Header(simdjson::dom::object object) : object_(object) {}

  [[nodiscard]] bool has(std::string_view key) const;

  // Each: nothing where the key is absent, an error where the type or the range is wrong. `null`
  // counts as a wrong type.
  [[nodiscard]] Field<std::string_view> string(std::string_view key) const;
  [[nodiscard]] Field<bool> boolean(std::string_view key) const;
  [[nodiscard]] Field<std::int64_t> integer(std::string_view key, std::int64_t least,
                                            std::int64_t most) const;
  [[nodiscard]] Field<std::uint64_t> size(std::string_view key) const;  // 0 … limits::max_size
  [[nodiscard]] Field<double> number(std::string_view key) const;       // integer or float
  [[nodiscard]] Field<std::vector<std::string_view>> strings(std::string_view key) const;  // array of strings
  /// An object whose values are all strings, in the order written.
  [[nodiscard]] Field<std::vector<std::pair<std::string_view, std::string_view>>> string_map(
      std::string_view key) const;

  /// For what the accessors above do not cover.
  [[nodiscard]] simdjson::dom::object object() const { return object_; }

 private:
  simdjson::dom::object object_;
};

/// Parses headers, one after the other, in memory that it keeps. One for each thread. Build with
/// -pthread, as the library is: the size of simdjson's parser depends on it.
class HeaderParser {
 public:
  HeaderParser();

  /// Checks everything that the protocol asks of a header: one UTF-8 JSON object and nothing else, no
  /// byte order mark, no duplicate key at any depth (compared after unescaping), nesting of at most
  /// limits::max_nesting, numbers within a double and integers within −2^63 … 2^64−1. The error is a
  /// sentence for the peer. At least simdjson::SIMDJSON_PADDING bytes behind `text` must be readable
  /// when `padded`; otherwise the text is copied first.
  [[nodiscard]] std::expected<Header, std::string> parse(std::string_view text, bool padded);

 private:
  /// Duplicate keys and depth, from `container` down; what is wrong, or nothing.
  [[nodiscard]] std::optional<std::string> check(simdjson::dom::element container, unsigned depth);

  simdjson::dom::parser parser_;
  std::vector<std::string_view> keys_;  // scratch for the search for duplicates
  std::vector<char> copy_;              // of a text that has no padding of its own
};

/// A client's `id`, kept to be echoed: what is appended to a reply, type unchanged.
class RequestId {
 public:
  /// A string of at most limits::max_id bytes, an integer of 64 bits (signed or not), or absent.
  [[nodiscard]] static std::expected<RequestId, FieldError> from(const Header& header);

  [[nodiscard]] bool present() const { return json_ != nullptr; }
  /// As JSON, `"a\"b"` or 17; empty when absent. Valid as long as any copy of this id.
  [[nodiscard]] std::string_view json() const { return json_ != nullptr ? *json_ : std::string_view{}; }

 private:
  std::shared_ptr<const std::string> json_;  // none when absent, which is the rule
};

/// What the framing itself has to know of a header. `more` and `abort` are false too where they are
/// of the wrong type: the operation refuses that.
struct FrameInfo {
  std::uint64_t body_size = 0;
  bool more = false;
  bool has_cmd = false;
  bool abort = false;  // in Conversation::frame(): only of a request frame that continues, then more is false
};

/// The body's size and the framing fields. `first`: the first frame of a message, where a `put`
/// without `data_size` may say `filesize`. The error (a sentence) is a framing error: a size that is
/// no integer within 0 … limits::max_size, a `put` whose two sizes disagree, or with an `offset` and
/// no `data_size`.
[[nodiscard]] std::expected<FrameInfo, std::string> frame_info(const Header& header, bool first);

}  // namespace ftpd
