// ping, hello, quit and stats: answered at once, without an operation of their own.
#include "server/operations.h"
#include "server/server.h"

namespace ftpd {

Made make_ping(const Request& request, Host& host) {
  // The answer to a ping without an id is always the same.
  static const std::string plain = finish_reply(begin_reply(RequestId{}));
  if (request.id.present()) {
    host.send(finish_reply(begin_reply(request.id)));
  } else {
    host.send(std::string_view{plain});
  }
  return nullptr;
}

Made make_quit(const Request& request, Host& host) {
  host.close_after_reply();
  host.send(finish_reply(begin_reply(request.id)));
  return nullptr;
}

namespace {

Right any_way_of_exec(const Allowed& allowed) {
  if (allowed.has(Right::shell)) return Right::shell;
  return allowed.has(Right::exec) || !allowed.has_any_named() ? Right::exec : Right::named;
}

}  // namespace

Made make_hello(const Request& request, Host& host) {
  const Caller& caller = host.caller();
  const Settings& settings = *host.services().settings;
  const Rules rules = rules_of(caller, host.services().server.own_uid());
  std::string commands = "[";
  for (const OperationRow& row : operations()) {
    // exec is told where any way of giving the command is allowed.
    const bool by_any_way = row.name == "exec" && rules.allowed.runs_commands();
    const Right right = by_any_way ? any_way_of_exec(rules.allowed) : row.right(request);
    const std::string_view named = right == Right::named ? std::string_view{rules.allowed.first_named()} : "";
    if (decide(rules, caller.peer, {row.name, right, named}).verdict != Decision::Verdict::allowed) continue;
    if (commands.size() > 1) commands += ',';
    append_json_string(commands, row.name);
  }
  commands += ']';

  JsonObject limits;
  limits.add("max_header", std::uint64_t{settings.server.max_header});
  limits.add("discard_limit", settings.server.discard_limit);
  limits.add("reply_queue", settings.server.reply_queue);
  limits.add("max_size", ::ftpd::limits::max_size);
  if (caller.role != nullptr) {
    limits.add("max_file", caller.role->settings.max_file);  // 0: no limit, likewise the quota
    limits.add("quota", caller.role->settings.quota);
    limits.add("max_output", caller.role->settings.max_output);
    limits.add("max_exec", std::uint64_t{caller.role->settings.max_exec});
  }

  JsonObject reply = begin_reply(request.id);
  reply.add("protocol", ::ftpd::limits::protocol_version);
  reply.add("server", "ftpd/" FTPD_VERSION);
  reply.add_json("commands", commands);
  reply.add_json("limits", std::move(limits).take());
  reply.add("user", "");  // nobody has authenticated
  reply.add("role", caller.role != nullptr ? std::string_view{caller.role->name} : std::string_view{});
  host.send(finish_reply(std::move(reply)));
  return nullptr;
}

Made make_stats(const Request& request, Host& host) {
  const std::string body = host.services().server.stats_json();
  host.send(finish_reply(begin_reply(request.id), body.size()));
  host.send(std::string_view{body});
  return nullptr;
}

}  // namespace ftpd
