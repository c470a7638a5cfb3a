// An error reply, kept, and as a sentence.
#include "client/refusal.h"

#include <fmt/format.h>

#include "client/text.h"

namespace ftpd::client {
namespace {

/// The field, or nothing where it is absent or of the wrong type.
std::string text_of(const Header& header, std::string_view key) {
  const auto field = header.string(key);
  return field && *field ? std::string{**field} : std::string{};
}

std::optional<std::uint64_t> size_of(const Header& header, std::string_view key) {
  const auto field = header.size(key);
  return field ? *field : std::nullopt;
}

}  // namespace

std::string Refusal::text() const {
  std::string details = error_name;
  const auto add = [&details](std::string_view what, const std::optional<std::uint64_t>& value) {
    if (value) details += fmt::format("{}{} {}", details.empty() ? "" : ", ", what, *value);
  };
  add("need", need);
  add("free", free);
  add("retry after ms", retry_after_ms);
  std::string out = code + ": " + message;
  if (!details.empty()) out += " (" + details + ")";
  return printable(out);
}

Outcome<std::optional<Refusal>> Refusal::from(const Header& header) {
  const auto ok = header.boolean("ok");
  if (!ok || !*ok) return connection_failure("a reply without \"ok\": this is no ftpd");
  if (**ok) return std::nullopt;
  Refusal refusal;
  refusal.code = text_of(header, "error");
  refusal.message = text_of(header, "message");
  refusal.error_name = text_of(header, "errno");
  refusal.need = size_of(header, "need");
  refusal.free = size_of(header, "free");
  refusal.retry_after_ms = size_of(header, "retry_after_ms");
  if (refusal.code.empty()) refusal.code = "error";
  return refusal;
}

}  // namespace ftpd::client
