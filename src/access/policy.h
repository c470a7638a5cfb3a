// Who may do what: one pure function. See ftpd-protocol(7), "Rights".
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <string_view>

namespace ftpd {

/// What an operation needs. `none`: anybody, authenticated or not (ping, hello, auth, quit).
/// `named`: to run one command that the settings name, which its own `roles` give and nothing else does.
enum class Right : std::uint8_t { none, read, write, remove, exec, shell, admin, named };

/// The word in `allow`: "read", "write", "delete", "exec", "shell", "admin"; "" for the others.
[[nodiscard]] std::string_view name(Right right);
[[nodiscard]] std::optional<Right> right_from_name(std::string_view name);

/// A set of rights and of single commands.
class Allowed {
 public:
  void add(Right right) { rights_ |= bit(right); }
  void add_command(std::string command) { commands_.insert(std::move(command)); }
  void add_named(std::string name) { named_.insert(std::move(name)); }
  [[nodiscard]] bool has_named(std::string_view name) const { return named_.contains(name); }
  [[nodiscard]] bool has_any_named() const { return !named_.empty(); }
  /// Only where there is one.
  [[nodiscard]] const std::string& first_named() const { return *named_.begin(); }
  /// By any of the ways there are.
  [[nodiscard]] bool runs_commands() const {
    return has(Right::exec) || has(Right::shell) || has_command("exec") || has_any_named();
  }
  [[nodiscard]] bool has(Right right) const { return right == Right::none || (rights_ & bit(right)) != 0; }
  [[nodiscard]] bool has_command(std::string_view command) const { return commands_.contains(command); }

 private:
  static std::uint8_t bit(Right right) {
    return static_cast<std::uint8_t>(1U << static_cast<unsigned>(right));
  }
  std::uint8_t rights_ = 0;
  std::set<std::string, std::less<>> commands_;
  std::set<std::string, std::less<>> named_;  // commands that the settings name
};

/// Who is at the other end, as far as it is known. 16 bytes: every connection keeps one.
struct Peer {
  enum class Kind : std::uint8_t { loopback_tcp, remote_tcp, unix_socket };
  Kind kind = Kind::remote_tcp;
  bool uid_known = false;  // the kernel told, of a socket that somebody held
  uid_t uid = 0;
};

struct Question {
  std::string_view command;  // "exec"
  Right right = Right::none;
  std::string_view named = {};  // with Right::named: which
};

/// The rules that apply to a caller: his role's and his listener's.
struct Rules {
  std::string_view role;  // "": must authenticate first
  Allowed allowed;
  bool local_users_same = true;  // commands over loopback TCP: from the daemon's own user and root only
  uid_t own_uid = 0;             // the daemon's
};

struct Decision {
  enum class Verdict : std::uint8_t { allowed, denied, auth_required };
  Verdict verdict = Verdict::denied;
  std::string why;  // for people, where it is no: `role "local" does not allow shell`
};

/// Pure: the same question gets the same answer.
[[nodiscard]] Decision decide(const Rules& rules, const Peer& peer, const Question& question);

}  // namespace ftpd
