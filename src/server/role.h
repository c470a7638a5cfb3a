// A role as it is in force: its settings with what they name opened.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>

#include "access/policy.h"
#include "config/load.h"
#include "config/settings.h"
#include "server/command_queue.h"
#include "store/store.h"

namespace ftpd {

class Pacer;

struct Role {
  std::string name;
  RoleSettings settings;
  Allowed allowed;
  std::shared_ptr<Store> store;
  std::shared_ptr<CommandQueue> commands;
  // Of what is read from its connections, and of what is sent to them; null where `rate` is 0.
  std::shared_ptr<Pacer> receiving;
  std::shared_ptr<Pacer> sending;
};

using Roles = std::map<std::string, std::shared_ptr<const Role>, std::less<>>;

/// What the settings table alone can't judge: addresses, the words of `allow`, and settings that are
/// dangerous together (commands on an address that is not loopback). Each problem says the line that
/// would allow it. Opens nothing.
void check_rules(const LoadedSettings& loaded, Problems& problems);

/// Opens every root. The problems name the role's root.
[[nodiscard]] std::expected<Roles, Problems> open_roles(const LoadedSettings& loaded);

/// What a role that there is may do: the rights of its `allow`, where single commands are the operations'
/// own names, and the named commands that are given to it.
[[nodiscard]] Allowed allowed_by(std::string_view role, const Settings& settings);

}  // namespace ftpd
