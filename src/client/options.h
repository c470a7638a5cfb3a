// The command line of ftpc, checked. See ftpc(1).
#pragma once

#include <chrono>
#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ftpd::client {

enum class Verb : std::uint8_t { put, get, ls, stat, exec, ping, hello, stats, raw };
[[nodiscard]] std::string_view name(Verb verb);

/// How an old server is spoken to; `none`: in frames.
enum class OldDialect : std::uint8_t { none, length, json, silent };
enum class ShowProgress : std::uint8_t { automatic, always, never };
enum class Form : std::uint8_t { human, json };
enum class Talk : std::uint8_t { normal, quiet };
enum class Depth : std::uint8_t { single, recursive };
enum class Detail : std::uint8_t { names, full };
enum class StandardInput : std::uint8_t { forwarded, none };

struct Options {
  Verb verb = Verb::ping;
  std::string address = "127.0.0.1:8080";
  Form form = Form::human;
  Talk talk = Talk::normal;
  ShowProgress progress = ShowProgress::automatic;
  OldDialect dialect = OldDialect::none;
  std::vector<std::string> operands;  // LOCAL…, REMOTE [LOCAL], PATH, ARGV…; their number is checked

  Depth depth = Depth::single;     // put, get, ls
  Detail detail = Detail::names;   // ls
  std::optional<std::string> to;   // put
  std::optional<std::string> cwd;  // exec, from here on
  std::vector<std::pair<std::string, std::string>> environment;
  std::optional<std::chrono::milliseconds> timeout;
  std::optional<std::string> shell_line;
  StandardInput standard_input = StandardInput::forwarded;
  unsigned count = 1;  // ping
};

/// The program ends before it began: `text` goes to standard output for status 0, else to standard
/// error.
struct EarlyEnd {
  int status = 0;
  std::string text;
};

/// `arguments` without the program's name; `address` is $FTPC_ADDRESS or null.
[[nodiscard]] std::expected<Options, EarlyEnd> parse_options(std::vector<std::string> arguments,
                                                             const char* address);

}  // namespace ftpd::client
