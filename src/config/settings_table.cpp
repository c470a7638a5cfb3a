// The rows of the table of settings.
#include "config/settings_table.h"

namespace ftpd::settings {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr unsigned most_connections = 1'000'000;
constexpr Duration year = hours{24 * 365};
constexpr Duration hour = hours{1};

constexpr std::array<std::string_view, 4> log_words = {"error", "warning", "info", "debug"};
constexpr std::array<std::string_view, 2> local_users_words = {"same", "any"};
constexpr std::array<std::string_view, 2> durability_words = {"none", "fsync"};

template <class Struct, class Member>
Struct holder_of(Member Struct::*);
template <auto Member>
using Holder = decltype(holder_of(Member));

template <auto Member>
constexpr auto size(std::uint64_t low, std::uint64_t high, Zero zero = Zero::bytes) {
  using Struct = Holder<Member>;
  return Size<Struct>{[](const Struct& holder) -> std::uint64_t { return holder.*Member; },
                      [](Struct& holder, std::uint64_t value) {
                        holder.*Member = static_cast<std::decay_t<decltype(holder.*Member)>>(value);
                      },
                      low, high, zero};
}

/// A size that limits something, unless it is 0.
template <auto Member>
constexpr auto limit(std::uint64_t low) {
  return size<Member>(low, largest_size, Zero::no_limit);
}

template <auto Member>
constexpr auto choice(std::span<const std::string_view> words) {
  using Struct = Holder<Member>;
  return Choice<Struct>{[](const Struct& holder) { return static_cast<std::size_t>(holder.*Member); },
                        [](Struct& holder, std::size_t index) {
                          holder.*Member = static_cast<std::decay_t<decltype(holder.*Member)>>(index);
                        },
                        words};
}

using Server = ServerSettings;
constexpr auto server_table = std::to_array<Row<Server>>({
    {"workers", Count<Server>{&Server::workers, 0, 256}, "event loops; 0: one for each CPU"},
    {"max_connections", Count<Server>{&Server::max_connections, 1, most_connections},
     "lowered to the limit of open files less a reserve, with a warning"},
    {"max_connections_per_ip", Count<Server>{&Server::max_connections_per_ip, 0, most_connections},
     "0: no limit"},
    {"max_header", size<&Server::max_header>(64, 1U << 20U),
     "bytes of a header, and of a line of text; at most 8191 where a listener takes text"},
    {"idle_timeout", Span<Server>{&Server::idle_timeout, {}, year},
     "closes a connection with no request under way; 0: never"},
    {"stall_timeout", Span<Server>{&Server::stall_timeout, {}, year},
     "closes a peer that neither sends what it announced nor reads its reply; 0: never"},
    {"drain_timeout", Span<Server>{&Server::drain_timeout, {}, year},
     "how long requests under way may take to finish after SIGTERM; 0: as long as they need"},
    {"discard_limit", size<&Server::discard_limit>(0, largest_size),
     "bytes of a refused body that are read and dropped; beyond it the connection is closed"},
    {"reply_queue", size<&Server::reply_queue>(4096, largest_size),
     "bytes of replies that a peer has not read yet; beyond it nothing more is read from the peer"},
    {"text_idle", Span<Server>{&Server::text_idle, milliseconds{1}, seconds{10}},
     "ends a command of the text dialect that came without a line feed"},
    {"log", choice<&Server::log>(log_words), "how much is logged"},
});

using Listen = ListenSettings;
constexpr auto listen_table = std::to_array<Row<Listen>>({
    {"address", Text<Listen>{&Listen::address, Empty::refused},
     "HOST:PORT, [V6]:PORT, :PORT (loopback) or unix:PATH"},
    {"dialect", choice<&Listen::dialect>(dialect_words), "what may be spoken here"},
    {"text_reply", choice<&Listen::text_reply>(text_reply_words), "how the text dialect is answered"},
    {"role", Text<Listen>{&Listen::role, Empty::allowed},
     "of whoever has not authenticated; \"\": must authenticate"},
    {"local_users", choice<&Listen::local_users>(local_users_words),
     "who may run commands over loopback TCP; \"same\": the daemon's own user and root"},
    {"insecure", Flag<Listen>{&Listen::insecure},
     "must be true to offer commands on an address that is not loopback, without TLS"},
});

using Role = RoleSettings;
constexpr auto role_table = std::to_array<Row<Role>>({
    {"root", Text<Role>{&Role::root, Empty::refused}, "the directory that holds the role's files"},
    {"allow", Words<Role>{&Role::allow}, "read, write, delete, exec (by argv), shell (by command), admin"},
    {"allow_writable_root", Flag<Role>{&Role::allow_writable_root},
     "a root that others can write is refused without it"},
    {"durability", choice<&Role::durable>(durability_words), "\"none\": no flush before the reply"},
    {"max_file", limit<&Role::max_file>(1), "bytes of one file; 0: no limit"},
    {"quota", limit<&Role::quota>(1), "bytes below the root, unfinished uploads included; 0: no limit"},
    {"rate", limit<&Role::rate>(smallest_rate),
     "bytes a second each way, shared by the role's connections; 0: no limit"},
    {"partial_ttl", Span<Role>{&Role::partial_ttl, {}, year},
     "how long an unfinished upload is held to be resumed; 0: for ever"},
    {"max_exec", Count<Role>{&Role::max_exec, 1, 100'000},
     "commands at once; further ones wait up to queue_timeout, then the answer is busy"},
    {"queue_timeout", Span<Role>{&Role::queue_timeout, {}, year}, "how long a command may wait for its turn"},
    {"exec_timeout", Span<Role>{&Role::exec_timeout, {}, year}, "how long a command may run; 0: no limit"},
    {"kill_grace", Span<Role>{&Role::kill_grace, {}, hour}, "from SIGTERM to SIGKILL"},
    {"max_output", size<&Role::max_output>(0, largest_size),
     "bytes of a command's output that are kept; the rest is dropped, and the reply says so"},
    {"env", Pairs<Role>{&Role::env}, "environment variables of commands"},
    {"runner", Words<Role>{&Role::runner}, "put in front of every command"},
});

using Command = CommandSettings;
constexpr auto command_table = std::to_array<Row<Command>>({
    {"argv", Words<Command>{&Command::argv}, "the program and its arguments; {1} … {9}: the client's"},
    {"roles", Words<Command>{&Command::roles}, "who may run it"},
});

}  // namespace

std::span<const Row<ServerSettings>> server_rows() { return server_table; }
std::span<const Row<ListenSettings>> listen_rows() { return listen_table; }
std::span<const Row<RoleSettings>> role_rows() { return role_table; }
std::span<const Row<CommandSettings>> command_rows() { return command_table; }

}  // namespace ftpd::settings
