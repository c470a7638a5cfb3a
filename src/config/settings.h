// The settings: an immutable snapshot, shared by all loops. See ftpd.toml(5).
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/log.h"

namespace ftpd {

struct ServerSettings {
  unsigned workers = 0;  // 0: one for each CPU
  unsigned max_connections = 20000;
  unsigned max_connections_per_ip = 0;  // 0: no limit
  std::uint32_t max_header = 8191;
  Duration idle_timeout = std::chrono::minutes{10};
  Duration stall_timeout = std::chrono::seconds{30};
  Duration drain_timeout = std::chrono::seconds{30};
  std::uint64_t discard_limit = 64U << 20U;
  std::uint64_t reply_queue = 4U << 20U;
  Duration text_idle = std::chrono::milliseconds{30};
  log::Level log = log::Level::info;

  bool operator==(const ServerSettings&) const = default;
};

enum class DialectChoice : std::uint8_t { frame, text, both };
enum class TextReply : std::uint8_t { plain, length, json };
enum class LocalUsers : std::uint8_t { same, any };

struct ListenSettings {
  std::string address = "127.0.0.1:8080";
  DialectChoice dialect = DialectChoice::both;
  TextReply text_reply = TextReply::plain;
  std::string role = "local";
  LocalUsers local_users = LocalUsers::same;
  bool insecure = false;

  bool operator==(const ListenSettings&) const = default;
};

struct RoleSettings {
  std::string root = "ftpd-root";
  std::vector<std::string> allow = {"read", "write"};
  bool allow_writable_root = false;
  bool durable = true;                            // durability = "fsync" | "none"
  std::uint64_t max_file = 0;                     // bytes; 0: no limit, here and in the next two
  std::uint64_t quota = 0;                        // bytes below the root
  std::uint64_t rate = 0;                         // bytes a second, each way
  Duration partial_ttl = std::chrono::hours{24};  // zero: never
  unsigned max_exec = 64;
  Duration queue_timeout = std::chrono::seconds{10};
  Duration exec_timeout{};  // zero: none
  Duration kill_grace = std::chrono::seconds{5};
  std::uint64_t max_output = 64U << 20U;
  std::map<std::string, std::string> env;
  std::vector<std::string> runner;  // in front of every command

  bool operator==(const RoleSettings&) const = default;
};

/// `[command.NAME]`: for exec by name.
struct CommandSettings {
  std::vector<std::string> argv;  // "{1}" … "{9}" stand for the client's arguments
  std::vector<std::string> roles;

  bool operator==(const CommandSettings&) const = default;
};

struct Settings {
  ServerSettings server;
  std::vector<ListenSettings> listen = {ListenSettings{}};
  std::map<std::string, RoleSettings> roles = {{"local", RoleSettings{}}};
  std::map<std::string, CommandSettings> commands;

  bool operator==(const Settings&) const = default;
};

using SettingsSnapshot = std::shared_ptr<const Settings>;

}  // namespace ftpd
