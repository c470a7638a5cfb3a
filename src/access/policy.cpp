// The rules, in the order in which they are asked.
#include "access/policy.h"

#include <fmt/format.h>

#include <array>

namespace ftpd {
namespace {

constexpr std::array<std::string_view, 7> right_names = {"",     "read",  "write", "delete",
                                                         "exec", "shell", "admin"};

bool runs_commands(Right right) {
  return right == Right::exec || right == Right::shell || right == Right::named;
}

/// A port on loopback is open to every user of the machine: whoever connects must not gain another
/// user's rights by it.
bool is_foreign_user(const Rules& rules, const Peer& peer) {
  if (peer.kind != Peer::Kind::loopback_tcp || !rules.local_users_same) return false;
  return !peer.uid_known || (peer.uid != rules.own_uid && peer.uid != 0);
}

std::string foreign_user_text(const Rules& rules, const Peer& peer) {
  const std::string who =
      peer.uid_known ? fmt::format("not for uid {}", peer.uid) : "and whose connection this is, is not known";
  const std::string allowed = rules.own_uid == 0 ? "root" : fmt::format("uid {} and root", rules.own_uid);
  return fmt::format(
      "commands over loopback TCP are only for {}, {}; local_users = \"any\" on the listener would allow it",
      allowed, who);
}

Decision deny(std::string why) { return {Decision::Verdict::denied, std::move(why)}; }

}  // namespace

std::string_view name(Right right) {
  return right == Right::named ? std::string_view{} : right_names[static_cast<std::size_t>(right)];
}

std::optional<Right> right_from_name(std::string_view name) {
  for (std::size_t i = 1; i < right_names.size(); ++i) {
    if (right_names[i] == name) return static_cast<Right>(i);
  }
  return {};
}

Decision decide(const Rules& rules, const Peer& peer, const Question& question) {
  if (question.right == Right::none) return {Decision::Verdict::allowed, ""};
  if (rules.role.empty())
    return {Decision::Verdict::auth_required, fmt::format("{} needs authentication", question.command)};
  if (question.right == Right::named) {
    if (!rules.allowed.has_named(question.named)) {
      return deny(fmt::format("role \"{}\" may not run the command \"{}\"", rules.role, question.named));
    }
  } else if (!rules.allowed.has(question.right) && !rules.allowed.has_command(question.command))
    return deny(fmt::format("role \"{}\" does not allow {}", rules.role, name(question.right)));
  // Last, so that its advice is the whole truth: only this rule is in the way.
  if (runs_commands(question.right) && is_foreign_user(rules, peer))
    return deny(foreign_user_text(rules, peer));
  return {Decision::Verdict::allowed, ""};
}

}  // namespace ftpd
