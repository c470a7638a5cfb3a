// Reading the fields of a request that several operations share.
#pragma once

#include <fmt/format.h>

#include <expected>
#include <optional>
#include <string>
#include <string_view>

#include "ftpd/message.h"
#include "server/reply.h"
#include "store/rel_path.h"

namespace ftpd {

template <class T>
using Read = std::expected<T, Failure>;

/// The field, or nothing; a wrong type is `bad_request`.
template <class T>
[[nodiscard]] Read<std::optional<T>> optional_field(Field<T> field) {
  if (!field) return std::unexpected(bad_request(std::move(field.error().text)));
  return std::move(*field);
}

enum class RootIs : std::uint8_t { refused, allowed };

/// `key`, or `key` + "_base64" for a name that JSON can't carry, checked.
[[nodiscard]] Read<RelPath> path_field(const Header& header, std::string_view key, RootIs root);

/// `unsupported` where the request asks for one of `keys`, which this version does not do: a client
/// must not believe that it was done.
[[nodiscard]] Read<void> refuse_unbuilt(const Header& header, std::initializer_list<std::string_view> keys);

/// Seconds since the epoch, as a JSON number on the wire.
[[nodiscard]] double seconds_of(const timespec& time);
[[nodiscard]] timespec timespec_of(double seconds);

/// `filename`, or `filename_base64` where the name is not text.
void add_name(JsonObject& reply, const RelPath& path);

/// Standard base64 (RFC 4648, section 4), for names that JSON can't carry.
[[nodiscard]] std::string to_base64(std::string_view bytes);
/// Nothing for what to_base64 would not have written.
[[nodiscard]] std::optional<std::string> from_base64(std::string_view text);

}  // namespace ftpd
