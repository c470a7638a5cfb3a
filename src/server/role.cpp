// A role as it is in force, and the rules that settings must keep.
#include "server/role.h"

#include <fmt/format.h>

#include <algorithm>

#include "net/address.h"
#include "server/named_command.h"
#include "server/operations.h"
#include "server/pacer.h"

namespace ftpd {
namespace {

constexpr std::string_view allow_words =
    "allowed are read, write, delete, exec, shell, admin and the names of single commands";

void check_listener(const LoadedSettings& loaded, std::size_t index, Problems& problems) {
  const ListenSettings& listen = loaded.settings.listen[index];
  const std::string table = fmt::format("listen[{}]", index + 1);
  const auto address = Address::parse(listen.address);
  if (!address) {
    problems.push_back(loaded.problem(table + ".address", address.error().text));
    return;
  }
  const auto role = loaded.settings.roles.find(listen.role);
  if (role == loaded.settings.roles.end() || listen.insecure || address->is_unix() || address->is_loopback())
    return;
  if (!allowed_by(role->first, loaded.settings).runs_commands()) return;
  problems.push_back(loaded.problem(
      table + ".address",
      fmt::format(
          "role \"{}\" may run commands, and {} can be reached from other machines without encryption; "
          "take the rights exec and shell from its allow and named commands from it, listen on loopback or "
          "unix:, or write "
          "insecure = true in this [[listen]] to allow it",
          role->first, listen.address)));
}

void check_commands(const LoadedSettings& loaded, Problems& problems) {
  for (const auto& [name, command] : loaded.settings.commands) {
    const std::string table = fmt::format("command.{}", name);
    if (const auto wrong = check_template(command.argv)) {
      problems.push_back(loaded.problem(table + ".argv", *wrong));
    }
    for (const std::string& role : command.roles) {
      if (loaded.settings.roles.contains(role)) continue;
      problems.push_back(loaded.problem(
          table + ".roles", fmt::format("there is no role \"{}\"; write [role.{}] for it", role, role)));
    }
  }
}

}  // namespace

Allowed allowed_by(std::string_view role, const Settings& settings) {
  Allowed allowed;
  for (const auto& [name, command] : settings.commands) {
    if (std::ranges::find(command.roles, role) != command.roles.end()) allowed.add_named(name);
  }
  for (const std::string& word : settings.roles.find(std::string(role))->second.allow) {
    if (const auto right = right_from_name(word)) {
      allowed.add(*right);
    } else {
      allowed.add_command(word);
    }
  }
  return allowed;
}

void check_rules(const LoadedSettings& loaded, Problems& problems) {
  for (const auto& [name, role] : loaded.settings.roles) {
    for (const std::string& word : role.allow) {
      if (right_from_name(word) || find_operation(word) != nullptr) continue;
      problems.push_back(
          loaded.problem(fmt::format("role.{}.allow", name),
                         fmt::format("\"{}\" is neither a right nor a command; {}", word, allow_words)));
    }
  }
  check_commands(loaded, problems);
  for (std::size_t i = 0; i < loaded.settings.listen.size(); ++i) check_listener(loaded, i, problems);
}

std::expected<Roles, Problems> open_roles(const LoadedSettings& loaded) {
  Roles roles;
  Problems problems;
  for (const auto& [name, settings] : loaded.settings.roles) {
    auto store = Store::open(settings.root, {.durable = settings.durable,
                                             .allow_writable_root = settings.allow_writable_root,
                                             .max_file = settings.max_file,
                                             .quota = settings.quota,
                                             .partial_ttl = settings.partial_ttl});
    if (!store) {
      problems.push_back(loaded.problem(fmt::format("role.{}.root", name), store.error().text));
      continue;
    }
    const auto pacer = [rate = settings.rate] { return rate != 0 ? std::make_shared<Pacer>(rate) : nullptr; };
    roles.emplace(name,
                  std::make_shared<Role>(Role{.name = name,
                                              .settings = settings,
                                              .allowed = allowed_by(name, loaded.settings),
                                              .store = std::move(*store),
                                              .commands = std::make_shared<CommandQueue>(settings.max_exec),
                                              .receiving = pacer(),
                                              .sending = pacer()}));
  }
  if (!problems.empty()) return std::unexpected(std::move(problems));
  return roles;
}

}  // namespace ftpd
