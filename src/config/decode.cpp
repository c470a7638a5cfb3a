// The one file that knows TOML's parser: walks the document along the table of settings.
#define TOML_EXCEPTIONS 0
#include <fmt/format.h>
#include <toml++/toml.h>

#include <algorithm>
#include <optional>

#include "config/load.h"
#include "config/settings_table.h"
#include "config/suggest.h"

namespace ftpd {
namespace settings {
namespace {

/// Nothing, or what is wrong with the value.
using Verdict = std::optional<std::string>;

std::string_view kind(const toml::node& node) {
  switch (node.type()) {
    case toml::node_type::none: return "nothing";
    case toml::node_type::table: return "a table";
    case toml::node_type::array: return "an array";
    case toml::node_type::string: return "a string";
    case toml::node_type::integer: return "an integer";
    case toml::node_type::floating_point: return "a number with a fraction";
    case toml::node_type::boolean: return "a boolean";
    case toml::node_type::date: return "a date";
    case toml::node_type::time: return "a time";
    case toml::node_type::date_time: return "a date and time";
  }
  return "nothing";
}

std::string wrong_kind(const toml::node& node) { return fmt::format("is {}", kind(node)); }

bool has_nul(std::string_view text) { return text.find('\0') != std::string_view::npos; }

/// The bound that `value` breaks; `shown` is how the file says the value.
template <class Value>
Verdict outside(const Value& value, const Value& low, const Value& high, std::string_view shown) {
  if (value < low) return fmt::format("{} is too small", shown);
  if (value > high) return fmt::format("{} is too large", shown);
  return {};
}

// One overload for each kind of field: stores the node's value, or says what is wrong with it.

template <class Struct>
Verdict decode(const Count<Struct>& field, Struct& out, const toml::node& node) {
  const auto* const integer = node.as_integer();
  if (integer == nullptr) return wrong_kind(node);
  const std::int64_t value = integer->get();
  if (const Verdict wrong = outside<std::int64_t>(value, field.low, field.high, fmt::to_string(value)))
    return wrong;
  out.*field.member = static_cast<unsigned>(value);
  return {};
}

template <class Struct>
Verdict decode(const Size<Struct>& field, Struct& out, const toml::node& node) {
  std::string shown;
  std::uint64_t value = 0;
  if (const auto* const integer = node.as_integer(); integer != nullptr) {
    shown = fmt::to_string(integer->get());
    if (integer->get() < 0) return fmt::format("{} is too small", shown);
    value = static_cast<std::uint64_t>(integer->get());
  } else if (const auto* const string = node.as_string(); string != nullptr) {
    shown = quoted(string->get());
    const Result<std::uint64_t> parsed = parse_size(string->get());
    if (!parsed) return parsed.error().text;
    value = *parsed;
  } else {
    return wrong_kind(node);
  }
  const bool unlimited = value == 0 && field.zero == Zero::no_limit;
  if (const Verdict wrong = outside(value, field.low, field.high, shown); wrong && !unlimited) return wrong;
  field.set(out, value);
  return {};
}

template <class Struct>
Verdict decode(const Span<Struct>& field, Struct& out, const toml::node& node) {
  if (const auto* const integer = node.as_integer(); integer != nullptr)
    return fmt::format("{} is an integer without a unit", integer->get());
  const auto* const string = node.as_string();
  if (string == nullptr) return wrong_kind(node);
  const Result<Duration> value = parse_duration(string->get());
  if (!value) return value.error().text;
  if (const Verdict wrong = outside(*value, field.low, field.high, quoted(string->get()))) return wrong;
  out.*field.member = *value;
  return {};
}

template <class Struct>
Verdict decode(const Flag<Struct>& field, Struct& out, const toml::node& node) {
  const auto* const boolean = node.as_boolean();
  if (boolean == nullptr) return wrong_kind(node);
  out.*field.member = boolean->get();
  return {};
}

template <class Struct>
Verdict decode(const Choice<Struct>& field, Struct& out, const toml::node& node) {
  const auto* const string = node.as_string();
  if (string == nullptr) return wrong_kind(node);
  const auto word = std::ranges::find(field.words, std::string_view{string->get()});
  if (word == field.words.end()) return fmt::format("{} is not known", quoted(string->get()));
  field.set(out, static_cast<std::size_t>(word - field.words.begin()));
  return {};
}

template <class Struct>
Verdict decode(const Text<Struct>& field, Struct& out, const toml::node& node) {
  const auto* const string = node.as_string();
  if (string == nullptr) return wrong_kind(node);
  if (has_nul(string->get())) return "holds a NUL";
  if (string->get().empty() && field.empty == Empty::refused) return "is empty";
  out.*field.member = string->get();
  return {};
}

template <class Struct>
Verdict decode(const Words<Struct>& field, Struct& out, const toml::node& node) {
  const toml::array* const array = node.as_array();
  if (array == nullptr) return wrong_kind(node);
  std::vector<std::string> words;
  for (const toml::node& element : *array) {
    const auto* const string = element.as_string();
    if (string == nullptr) return fmt::format("element {} is {}", words.size() + 1, kind(element));
    if (string->get().empty()) return fmt::format("element {} is empty", words.size() + 1);
    if (has_nul(string->get())) return fmt::format("element {} holds a NUL", words.size() + 1);
    words.push_back(string->get());
  }
  out.*field.member = std::move(words);
  return {};
}

template <class Struct>
Verdict decode(const Pairs<Struct>& field, Struct& out, const toml::node& node) {
  const toml::table* const table = node.as_table();
  if (table == nullptr) return wrong_kind(node);
  std::map<std::string, std::string> pairs;
  for (const auto& [key, element] : *table) {
    const std::string_view name = key.str();
    const auto* const string = element.as_string();
    if (string == nullptr) return fmt::format("{} is {}", key_text(name), kind(element));
    if (name.empty() || name.find('=') != std::string_view::npos || has_nul(name))
      return fmt::format("the name {} is empty or holds \"=\" or a NUL", quoted(name));
    if (has_nul(string->get())) return fmt::format("{} holds a NUL", key_text(name));
    pairs.emplace(name, string->get());
  }
  out.*field.member = std::move(pairs);
  return {};
}

std::string allowed(FieldType type) {
  if (type.type == "duration") type.type = "duration such as \"30s\"";
  if (type.type == "size") type.type = "size such as 8191 or \"64MiB\"";
  return type.bounds.empty() ? type.type : fmt::format("{}, {}", type.type, type.bounds);
}

bool is_name(std::string_view name) {
  const bool bare = key_text(name) == name;
  return bare && name.size() <= 64;
}

// --- the walk --------------------------------------------------------------------------------------

template <class Struct>
std::vector<std::string_view> keys_of(std::span<const Row<Struct>> rows) {
  std::vector<std::string_view> keys;
  for (const Row<Struct>& row : rows) keys.push_back(row.key);
  return keys;
}

constexpr std::array<std::string_view, 4> table_names = {"server", "listen", "role", "command"};
constexpr std::array<std::string_view, 4> table_titles = {"[server]", "[[listen]]", "[role.NAME]",
                                                          "[command.NAME]"};

/// The table whose key `key` is; "" where there is none.
std::string_view home_of(std::string_view key) {
  const auto has = [key](const auto& rows) {
    return std::ranges::any_of(rows, [key](const auto& row) { return row.key == key; });
  };
  if (has(server_rows())) return table_titles[0];
  if (has(listen_rows())) return table_titles[1];
  if (has(role_rows())) return table_titles[2];
  if (has(command_rows())) return table_titles[3];
  return {};
}

std::string list_of(std::span<const std::string_view> names) {
  return fmt::format("{}", fmt::join(names, ", "));
}

unsigned line_of(const toml::key& key) { return key.source().begin.line; }
unsigned line_of(const toml::node& node) { return node.source().begin.line; }

class Reader {
 public:
  explicit Reader(std::string file) { draft_.loaded.file = std::move(file); }

  [[nodiscard]] Draft read(const toml::table& document) && {
    for (const auto& [key, node] : document) {
      if (key == "server") {
        read_server(key, node);
      } else if (key == "listen") {
        read_listeners(key, node);
      } else if (key == "role") {
        read_named(key, node, role_rows(), draft_.loaded.settings.roles);
      } else if (key == "command") {
        read_named(key, node, command_rows(), draft_.loaded.settings.commands);
      } else {
        unknown_at_top(key, node);
      }
    }
    return std::move(draft_);
  }

 private:
  void report(unsigned line, std::string key, std::string text) {
    draft_.problems.push_back({draft_.loaded.file, line, std::move(key), std::move(text)});
  }

  void read_server(const toml::key& key, const toml::node& node) {
    if (const toml::table* const table = expect_table(key, "server", "[server]", node); table != nullptr)
      read_table("server", *table, server_rows(), draft_.loaded.settings.server);
  }

  void read_listeners(const toml::key& key, const toml::node& node) {
    const toml::array* const array = node.as_array();
    if (array == nullptr || array->empty()) {
      const std::string wrong = array == nullptr ? wrong_kind(node) : "there is none";
      return report(line_of(key), "listen", fmt::format("{}, allowed: one or more of [[listen]]", wrong));
    }
    draft_.loaded.settings.listen.clear();
    for (const toml::node& element : *array) {
      const std::string name = fmt::format("listen[{}]", draft_.loaded.settings.listen.size() + 1);
      ListenSettings& listen = draft_.loaded.settings.listen.emplace_back();
      const toml::table* const table = element.as_table();
      if (table == nullptr) {
        report(line_of(element), name, fmt::format("{}, allowed: [[listen]]", wrong_kind(element)));
        continue;
      }
      draft_.loaded.lines[name] = line_of(element);
      read_table(name, *table, listen_rows(), listen);
    }
  }

  /// [KIND.NAME] tables.
  template <class Struct>
  void read_named(const toml::key& key, const toml::node& node, std::span<const Row<Struct>> rows,
                  std::map<std::string, Struct>& out) {
    const std::string kind{key.str()};
    const std::string title = fmt::format("[{}.NAME]", kind);
    const toml::table* const tables = expect_table(key, kind, title, node);
    if (tables == nullptr) return;
    for (const auto& [name, element] : *tables) {
      const std::string path = fmt::format("{}.{}", kind, key_text(name.str()));
      if (!is_name(name.str())) {
        report(line_of(name), path,
               fmt::format("is no name of a {}, allowed: 1 … 64 of A-Z a-z 0-9 _ -", kind));
      }
      const toml::table* const table = expect_table(name, path, title, element);
      if (table != nullptr) read_table(path, *table, rows, out[std::string{name.str()}]);
    }
  }

  const toml::table* expect_table(const toml::key& key, const std::string& path, std::string_view title,
                                  const toml::node& node) {
    const toml::table* const table = node.as_table();
    if (table == nullptr) {
      report(line_of(key), path, fmt::format("{}, allowed: {}", wrong_kind(node), title));
    } else {
      draft_.loaded.lines[path] = line_of(key);
    }
    return table;
  }

  template <class Struct>
  void read_table(const std::string& name, const toml::table& table, std::span<const Row<Struct>> rows,
                  Struct& out) {
    for (const auto& [key, node] : table) {
      const std::string path = fmt::format("{}.{}", name, key_text(key.str()));
      const auto row = std::ranges::find(rows, key.str(), &Row<Struct>::key);
      if (row == rows.end()) {
        unknown_in_table(line_of(key), path, key.str(), keys_of(rows));
        continue;
      }
      draft_.loaded.lines[path] = line_of(key);
      const Verdict wrong =
          std::visit([&](const auto& field) { return decode(field, out, node); }, row->field);
      if (wrong)
        report(line_of(key), path, fmt::format("{}, allowed: {}", *wrong, allowed(type_of(row->field))));
    }
  }

  void unknown_in_table(unsigned line, const std::string& path, std::string_view key,
                        const std::vector<std::string_view>& known) {
    if (const std::string_view home = home_of(key); !home.empty())
      return report(line, path, fmt::format("unknown key here, it belongs in {}", home));
    const std::string_view near = nearest(key, known);
    if (!near.empty()) return report(line, path, fmt::format("unknown key, did you mean \"{}\"?", near));
    report(line, path, fmt::format("unknown key, allowed: {}", list_of(known)));
  }

  void unknown_at_top(const toml::key& key, const toml::node& node) {
    const std::string_view name = key.str();
    const std::string_view what = node.is_table() || node.is_array_of_tables() ? "table" : "key";
    const std::string_view near = nearest(name, table_names);
    std::string hint = fmt::format("unknown {}, allowed: {}", what, list_of(table_titles));
    if (!near.empty()) hint = fmt::format("unknown {}, did you mean \"{}\"?", what, near);
    if (const std::string_view home = home_of(name); !home.empty())
      hint = fmt::format("unknown {} here, it belongs in {}", what, home);
    report(line_of(key), key_text(name), std::move(hint));
  }

  Draft draft_;
};

}  // namespace
}  // namespace settings

std::expected<Draft, Problem> draft_settings(std::string_view toml, std::string file) {
  const toml::parse_result parsed = toml::parse(toml);
  if (!parsed) {
    const toml::parse_error& error = parsed.error();
    return std::unexpected(
        Problem{std::move(file), error.source().begin.line, "", std::string{error.description()}});
  }
  return settings::Reader{std::move(file)}.read(parsed.table());
}

}  // namespace ftpd
