// Filling a command's template.
#include "server/named_command.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace ftpd {
namespace {

constexpr std::size_t most_arguments = 9;

/// The number of the placeholder that `text` begins with, 0 for none.
std::size_t placeholder(std::string_view text) {
  const bool is_one =
      text.size() >= 3 && text[0] == '{' && text[1] >= '1' && text[1] <= '9' && text[2] == '}';
  return is_one ? static_cast<std::size_t>(text[1] - '0') : 0;
}

/// Calls `found(number)` for each placeholder of a word, `text(piece)` for what is between.
template <class Found, class Text>
void walk(std::string_view word, Found found, Text text) {
  while (!word.empty()) {
    if (const std::size_t number = placeholder(word); number != 0) {
      found(number);
      word.remove_prefix(3);
      continue;
    }
    const std::size_t end = std::min(word.find('{', 1), word.size());
    text(word.substr(0, end));
    word.remove_prefix(end);
  }
}

std::size_t count_of(std::span<const std::string> argv) {
  std::size_t highest = 0;
  for (const std::string& word : argv) {
    walk(word, [&](std::size_t number) { highest = std::max(highest, number); }, [](std::string_view) {});
  }
  return highest;
}

}  // namespace

std::optional<std::string> check_template(std::span<const std::string> argv) {
  if (argv.empty()) return "is empty, and must have the program as its first string";
  std::array<bool, most_arguments + 1> used{};
  for (const std::string& word : argv) {
    walk(word, [&](std::size_t number) { used[number] = true; }, [](std::string_view) {});
  }
  bool in_program = false;
  walk(argv.front(), [&](std::size_t) { in_program = true; }, [](std::string_view) {});
  if (in_program) return "lets the client choose the program; the first string must have no placeholder";
  for (std::size_t number = 1; number <= count_of(argv); ++number) {
    if (!used[number]) return fmt::format("has no {{{}}}, but a later one", number);
  }
  return std::nullopt;
}

std::expected<std::vector<std::string>, std::string> fill_template(std::span<const std::string> argv,
                                                                   std::span<const std::string> arguments) {
  const std::size_t wanted = count_of(argv);
  if (arguments.size() != wanted) {
    return std::unexpected(fmt::format("args: {} {} given, the command takes {}", arguments.size(),
                                       arguments.size() == 1 ? "argument was" : "arguments were", wanted));
  }
  std::vector<std::string> filled;
  bool options_are_over = false;
  std::optional<std::string> problem;
  for (const std::string& word : argv) {
    std::string& out = filled.emplace_back();
    const auto put = [&](std::size_t number) {
      const std::string& argument = arguments[number - 1];
      if (argument.starts_with('-') && !options_are_over && !problem) {
        problem = fmt::format(
            "args: argument {} begins with \"-\" and could be taken for an option; the command's template "
            "has no \"--\" in front of it",
            number);
      }
      out += argument;
    };
    walk(word, put, [&](std::string_view text) { out += text; });
    if (word == "--") options_are_over = true;
  }
  if (problem) return std::unexpected(std::move(*problem));
  return filled;
}

}  // namespace ftpd
