// The table of settings as text: values as TOML, types and bounds in words, the whole configuration.
#include <fmt/format.h>

#include "config/load.h"
#include "config/settings_table.h"

namespace ftpd {
namespace settings {
namespace {

std::string size_value(std::uint64_t size) {
  const std::string text = print_size(size);
  const bool is_integer = text.back() != 'B';
  return is_integer ? text : quoted(text);
}

// One overload for each kind of field: its type in words …

template <class Struct>
FieldType type(const Count<Struct>& field) {
  return {"integer", fmt::format("{} … {}", field.low, field.high)};
}
template <class Struct>
FieldType type(const Size<Struct>& field) {
  const std::string bounds = fmt::format("{} … {}", print_size(field.low), print_size(field.high));
  return {"size", field.zero == Zero::no_limit ? "0 (no limit) or " + bounds : bounds};
}
template <class Struct>
FieldType type(const Span<Struct>& field) {
  return {"duration", fmt::format("{} … {}", print_duration(field.low), print_duration(field.high))};
}
template <class Struct>
FieldType type(const Flag<Struct>&) {
  return {"boolean", ""};
}
template <class Struct>
FieldType type(const Choice<Struct>& field) {
  return {choice_text(field.words), ""};
}
template <class Struct>
FieldType type(const Text<Struct>& field) {
  return {"string", field.empty == Empty::refused ? "not empty" : ""};
}
template <class Struct>
FieldType type(const Words<Struct>&) {
  return {"array of strings", ""};
}
template <class Struct>
FieldType type(const Pairs<Struct>&) {
  return {"table of strings", ""};
}

// … and its value as TOML.

template <class Struct>
std::string value(const Count<Struct>& field, const Struct& holder) {
  return fmt::format("{}", holder.*field.member);
}
template <class Struct>
std::string value(const Size<Struct>& field, const Struct& holder) {
  const std::uint64_t size = field.get(holder);
  return size == 0 && field.zero == Zero::no_limit ? quoted("0") : size_value(size);
}
template <class Struct>
std::string value(const Span<Struct>& field, const Struct& holder) {
  return quoted(print_duration(holder.*field.member));
}
template <class Struct>
std::string value(const Flag<Struct>& field, const Struct& holder) {
  return holder.*field.member ? "true" : "false";
}
template <class Struct>
std::string value(const Choice<Struct>& field, const Struct& holder) {
  return quoted(field.words[field.get(holder)]);
}
template <class Struct>
std::string value(const Text<Struct>& field, const Struct& holder) {
  return quoted(holder.*field.member);
}
template <class Struct>
std::string value(const Words<Struct>& field, const Struct& holder) {
  std::string out;
  for (const std::string& word : holder.*field.member) {
    if (!out.empty()) out += ", ";
    out += quoted(word);
  }
  return fmt::format("[{}]", out);
}
template <class Struct>
std::string value(const Pairs<Struct>& field, const Struct& holder) {
  std::string out;
  for (const auto& [name, text] : holder.*field.member) {
    out += fmt::format("{}{} = {}", out.empty() ? " " : ", ", key_text(name), quoted(text));
  }
  return out.empty() ? "{}" : fmt::format("{{{} }}", out);
}

template <class Struct>
void print_rows(std::string& out, std::span<const Row<Struct>> rows, const Struct& holder) {
  for (const Row<Struct>& row : rows) {
    out +=
        fmt::format("{:<32}  # {}\n", fmt::format("{} = {}", row.key, value_of(row.field, holder)), row.help);
  }
}

template <class Struct>
void describe_rows(std::vector<KeyDescription>& out, std::string_view table,
                   std::span<const Row<Struct>> rows) {
  const Struct defaults;
  for (const Row<Struct>& row : rows) {
    FieldType type = type_of(row.field);
    out.push_back({.table = std::string{table},
                   .key = std::string{row.key},
                   .type = std::move(type.type),
                   .default_value = value_of(row.field, defaults),
                   .bounds = std::move(type.bounds),
                   .help = std::string{row.help}});
  }
}

bool is_bare(std::string_view key) {
  return !key.empty() &&
         key.find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-") ==
             std::string_view::npos;
}

}  // namespace

template <class Struct>
FieldType type_of(const Field<Struct>& field) {
  return std::visit([](const auto& kind) { return type(kind); }, field);
}
template FieldType type_of(const Field<ServerSettings>&);
template FieldType type_of(const Field<ListenSettings>&);
template FieldType type_of(const Field<RoleSettings>&);
template FieldType type_of(const Field<CommandSettings>&);

template <class Struct>
std::string value_of(const Field<Struct>& field, const Struct& holder) {
  return std::visit([&holder](const auto& kind) { return value(kind, holder); }, field);
}
template std::string value_of(const Field<ServerSettings>&, const ServerSettings&);
template std::string value_of(const Field<ListenSettings>&, const ListenSettings&);
template std::string value_of(const Field<RoleSettings>&, const RoleSettings&);
template std::string value_of(const Field<CommandSettings>&, const CommandSettings&);

std::string quoted(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (byte < 0x20 || byte == 0x7f) {
      out += fmt::format("\\u{:04X}", byte);
    } else {
      out += c;
    }
  }
  return out + '"';
}

std::string key_text(std::string_view key) { return is_bare(key) ? std::string{key} : quoted(key); }

std::string choice_text(std::span<const std::string_view> words) {
  std::string out;
  for (const std::string_view& word : words) {
    if (!out.empty()) out += &word == &words.back() ? " or " : ", ";
    out += quoted(word);
  }
  return out;
}

}  // namespace settings

std::string print_settings(const Settings& settings) {
  std::string out = "# The effective settings of ftpd, defaults included; see ftpd.toml(5).\n\n[server]\n";
  settings::print_rows(out, settings::server_rows(), settings.server);
  for (const ListenSettings& listen : settings.listen) {
    out += "\n[[listen]]\n";
    settings::print_rows(out, settings::listen_rows(), listen);
  }
  for (const auto& [name, role] : settings.roles) {
    out += fmt::format("\n[role.{}]\n", settings::key_text(name));
    settings::print_rows(out, settings::role_rows(), role);
  }
  for (const auto& [name, command] : settings.commands) {
    out += fmt::format("\n[command.{}]\n", settings::key_text(name));
    settings::print_rows(out, settings::command_rows(), command);
  }
  return out;
}

std::vector<KeyDescription> describe_settings() {
  std::vector<KeyDescription> out;
  settings::describe_rows(out, "server", settings::server_rows());
  settings::describe_rows(out, "listen", settings::listen_rows());
  settings::describe_rows(out, "role.NAME", settings::role_rows());
  settings::describe_rows(out, "command.NAME", settings::command_rows());
  return out;
}

}  // namespace ftpd
