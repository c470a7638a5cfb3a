// Who may do what.
#include <doctest/doctest.h>

#include <initializer_list>
#include <vector>

#include "access/policy.h"

namespace ftpd {
namespace {

using Verdict = Decision::Verdict;
using Kind = Peer::Kind;

constexpr uid_t daemon_uid = 990;
constexpr Peer remote{Kind::remote_tcp, false, 0};
constexpr Peer unix_stranger{Kind::unix_socket, true, 1234};
constexpr Peer loopback_own{Kind::loopback_tcp, true, daemon_uid};
constexpr Peer loopback_root{Kind::loopback_tcp, true, 0};
constexpr Peer loopback_stranger{Kind::loopback_tcp, true, 1234};
constexpr Peer loopback_unknown{Kind::loopback_tcp, false, 0};

Allowed rights(std::initializer_list<Right> list) {
  Allowed allowed;
  for (const Right right : list) allowed.add(right);
  return allowed;
}

Rules rules_of(std::string_view role, Allowed allowed) { return {role, allowed, true, daemon_uid}; }

const Allowed everything =
    rights({Right::read, Right::write, Right::remove, Right::exec, Right::shell, Right::admin});

TEST_CASE("each rule decides as the manual says") {
  const Rules nobody = rules_of("", everything);
  const Rules files = rules_of("local", rights({Right::read, Right::write}));
  const Rules all = rules_of("local", everything);
  Rules anybody_local = all;
  anybody_local.local_users_same = false;
  Rules run_by_root = all;
  run_by_root.own_uid = 0;

  Allowed flash;
  flash.add_named("flash");
  const Rules one_named = rules_of("lab", flash);

  struct Row {
    const char* name;
    Rules rules;
    Peer peer;
    Question question;
    Verdict verdict;
  };
  const std::vector<Row> rows = {
      {"what needs no right is for everybody", nobody, remote, {"ping", Right::none}, Verdict::allowed},
      {"no role: authenticate first", nobody, remote, {"get", Right::read}, Verdict::auth_required},
      {"no role: for commands, too",
       nobody,
       loopback_stranger,
       {"exec", Right::exec},
       Verdict::auth_required},
      {"a right that the role has", files, remote, {"put", Right::write}, Verdict::allowed},
      {"a right that the role lacks", files, remote, {"rm", Right::remove}, Verdict::denied},
      {"a named command by its own roles",
       one_named,
       remote,
       {"exec", Right::named, "flash"},
       Verdict::allowed},
      {"another named command", one_named, remote, {"exec", Right::named, "erase"}, Verdict::denied},
      {"a named command gives no exec", one_named, remote, {"exec", Right::exec}, Verdict::denied},
      {"every right gives no named command", all, remote, {"exec", Right::named, "flash"}, Verdict::denied},
      {"a stranger on loopback runs no named command",
       one_named,
       loopback_stranger,
       {"exec", Right::named, "flash"},
       Verdict::denied},
      {"no role: authenticate before a named command",
       nobody,
       remote,
       {"exec", Right::named, "flash"},
       Verdict::auth_required},
      {"read does not give admin", files, remote, {"stats", Right::admin}, Verdict::denied},
      {"exec does not give shell",
       rules_of("local", rights({Right::exec})),
       remote,
       {"exec", Right::shell},
       Verdict::denied},
      {"shell does not give exec",
       rules_of("local", rights({Right::shell})),
       remote,
       {"exec", Right::exec},
       Verdict::denied},
      {"commands from afar, where allowed", all, remote, {"exec", Right::shell}, Verdict::allowed},
      {"commands over a Unix socket", all, unix_stranger, {"exec", Right::shell}, Verdict::allowed},
      {"commands from the daemon's own user", all, loopback_own, {"exec", Right::exec}, Verdict::allowed},
      {"commands from root", all, loopback_root, {"exec", Right::shell}, Verdict::allowed},
      {"exec from another local user", all, loopback_stranger, {"exec", Right::exec}, Verdict::denied},
      {"shell from another local user", all, loopback_stranger, {"exec", Right::shell}, Verdict::denied},
      {"an unknown user counts as another", all, loopback_unknown, {"exec", Right::exec}, Verdict::denied},
      {"an unknown user, the daemon being root",
       run_by_root,
       loopback_unknown,
       {"exec", Right::exec},
       Verdict::denied},
      {"local_users = any: another user",
       anybody_local,
       loopback_stranger,
       {"exec", Right::exec},
       Verdict::allowed},
      {"local_users = any: an unknown user",
       anybody_local,
       loopback_unknown,
       {"exec", Right::shell},
       Verdict::allowed},
      {"files are for every local user", all, loopback_stranger, {"rm", Right::remove}, Verdict::allowed},
      {"files are for an unknown one, too", all, loopback_unknown, {"get", Right::read}, Verdict::allowed},
  };
  for (const Row& row : rows) {
    CAPTURE(row.name);
    const Decision decision = decide(row.rules, row.peer, row.question);
    CHECK(decision.verdict == row.verdict);
    CHECK(decision.why.empty() == (row.verdict == Verdict::allowed));
  }
}

TEST_CASE("a denial says which rule it was and what would change it") {
  const Rules all = rules_of("local", everything);
  const Rules files = rules_of("local", rights({Right::read}));
  CHECK(decide(files, remote, {"exec", Right::shell}).why == "role \"local\" does not allow shell");
  CHECK(decide(rules_of("", {}), remote, {"put", Right::write}).why == "put needs authentication");
  CHECK(decide(all, loopback_stranger, {"exec", Right::exec}).why ==
        "commands over loopback TCP are only for uid 990 and root, not for uid 1234; "
        "local_users = \"any\" on the listener would allow it");
  CHECK(decide(all, loopback_unknown, {"exec", Right::exec}).why ==
        "commands over loopback TCP are only for uid 990 and root, and whose connection this is, is not "
        "known; local_users = \"any\" on the listener would allow it");
}

TEST_CASE("local_users is not named as the cure where the role would refuse anyway") {
  const Rules files = rules_of("local", rights({Right::read}));
  CHECK(decide(files, loopback_stranger, {"exec", Right::exec}).why == "role \"local\" does not allow exec");
}

TEST_CASE("every right but none has a name that leads back to it") {
  for (const Right right :
       {Right::read, Right::write, Right::remove, Right::exec, Right::shell, Right::admin}) {
    CHECK(right_from_name(name(right)) == right);
  }
  CHECK(name(Right::none).empty());
  CHECK(name(Right::named).empty());
  CHECK(name(Right::remove) == "delete");
  CHECK_FALSE(right_from_name("").has_value());
  CHECK_FALSE(right_from_name("Read").has_value());
  CHECK_FALSE(right_from_name("remove").has_value());
}

TEST_CASE("an empty set of rights has none, and adding one adds no other") {
  CHECK(Allowed{}.has(Right::none));
  CHECK_FALSE(Allowed{}.has(Right::read));
  CHECK(rights({Right::write}).has(Right::write));
  CHECK_FALSE(rights({Right::write}).has(Right::read));
  CHECK_FALSE(rights({Right::write}).has(Right::remove));
}

}  // namespace
}  // namespace ftpd
