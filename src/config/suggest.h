// The nearest known name to a mistyped one.
#pragma once

#include <span>
#include <string_view>

namespace ftpd::settings {

/// The name of `known` that is the fewest typing errors (a letter more, less, other, or two swapped)
/// away from `typed`; "" where none is near enough to be meant.
[[nodiscard]] std::string_view nearest(std::string_view typed, std::span<const std::string_view> known);

}  // namespace ftpd::settings
