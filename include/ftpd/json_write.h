// Writing a frame: a JSON object, field by field, with its length in front.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace ftpd {

/// Appends `text` as a JSON string, quotes included. `text` is UTF-8; a byte that is not becomes
/// U+FFFD, so that what goes out is always valid JSON.
void append_json_string(std::string& out, std::string_view text);

/// One JSON object. Keys are written as they are given (literals of ours).
class JsonObject {
 public:
  JsonObject();
  JsonObject& add(std::string_view key, std::string_view value);
  JsonObject& add(std::string_view key, const char* value) { return add(key, std::string_view{value}); }
  JsonObject& add(std::string_view key, bool value);
  JsonObject& add(std::string_view key, std::int64_t value);
  JsonObject& add(std::string_view key, std::uint64_t value);
  JsonObject& add(std::string_view key, int value) { return add(key, std::int64_t{value}); }
  JsonObject& add(std::string_view key, unsigned value) { return add(key, std::uint64_t{value}); }
  JsonObject& add(std::string_view key,
                  double value);  // shortest form that reads back the same; not finite: null
  /// `json` is already JSON.
  JsonObject& add_json(std::string_view key, std::string_view json);
  /// The object closed. Call once, last.
  [[nodiscard]] std::string take();
  /// Bytes so far, the closing brace included.
  [[nodiscard]] std::size_t size() const { return text_.size() + 1; }

 private:
  void key(std::string_view key);
  std::string text_;
};

/// Appends a frame without body: length and header.
void append_frame(std::string& out, std::string_view header_json);

}  // namespace ftpd
