// Commands that the settings name: a template, and the client's arguments put into it.
#pragma once

#include <expected>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace ftpd {

/// What is wrong with a template: it has no program, or its placeholders are not {1} to {N} without a gap.
[[nodiscard]] std::optional<std::string> check_template(std::span<const std::string> argv);

/// The template with each "{1}" … "{9}" replaced, also inside of a word; no argument is ever split, or seen
/// by a shell that the template does not call itself. The error says what is wrong with the arguments: too
/// few or too many, or one that begins with "-" and could be taken for an option, which only a "--" in front
/// of its place in the template allows.
[[nodiscard]] std::expected<std::vector<std::string>, std::string> fill_template(
    std::span<const std::string> argv, std::span<const std::string> arguments);

}  // namespace ftpd
