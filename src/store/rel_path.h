// The only path type that the store takes: relative, below one root. See ftpd-protocol(7), "Paths".
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "base/error.h"

namespace ftpd {

/// A checked path. A value; always relative, never empty, never out of its root by its own text
/// (symbolic links are openat2's business).
class RelPath {
 public:
  static constexpr std::size_t max_size = 4096;      // bytes in all
  static constexpr std::size_t max_component = 255;  // bytes of one component

  /// Refused (Reason::invalid): empty, absolute, over 4,096 bytes, not UTF-8, a component that is
  /// empty, ".", ".." or over 255 bytes, NUL or another control character (below 0x20, or 0x7f), a
  /// first component ".ftpd".
  [[nodiscard]] static Result<RelPath> parse(std::string_view text);

  /// The same for a name as it is on disk: bytes, which need not be UTF-8 and may hold control
  /// characters, but NUL.
  [[nodiscard]] static Result<RelPath> parse_bytes(std::string_view bytes);

  /// parse(), and "." for the root itself.
  [[nodiscard]] static Result<RelPath> parse_or_root(std::string_view text);

  [[nodiscard]] static RelPath root() { return RelPath{"."}; }
  /// What parse() takes too: it can be written as text.
  [[nodiscard]] bool is_text() const;
  [[nodiscard]] bool is_root() const { return text_ == "."; }
  [[nodiscard]] const std::string& text() const { return text_; }
  [[nodiscard]] const char* c_str() const { return text_.c_str(); }

  /// The directory that holds it (the root for a single component, and for the root).
  [[nodiscard]] RelPath parent() const;
  /// The last component ("." for the root). Its data() ends in a NUL; valid while this path lives.
  [[nodiscard]] std::string_view name() const;

  friend bool operator==(const RelPath&, const RelPath&) = default;

 private:
  explicit RelPath(std::string text) : text_(std::move(text)) {}
  std::string text_;
};

}  // namespace ftpd
