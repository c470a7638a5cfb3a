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

enum class Verb : std::uint8_t {
  put,
  get,
  ls,
  stat,
  sum,
  rm,
  mv,
  mkdir,
  rmdir,
  df,
  exec,
  ping,
  hello,
  stats,
  raw,
};
[[nodiscard]] std::string_view name(Verb verb);

/// How an old server is spoken to; `none`: in frames.
enum class OldDialect : std::uint8_t { none, length, json, silent };
enum class ShowProgress : std::uint8_t { automatic, always, never };
enum class Form : std::uint8_t { human, json };
enum class Talk : std::uint8_t { normal, quiet };
enum class Depth : std::uint8_t { single, recursive };
enum class Detail : std::uint8_t { names, full };
enum class Verify : std::uint8_t { by_digest, none };
enum class Begin : std::uint8_t { anew, resume };
enum class Growth : std::uint8_t { ignored, followed };
enum class Existing : std::uint8_t { replaced, kept };
enum class Parents : std::uint8_t { expected, made };
enum class DigestKind : std::uint8_t { sha256, md5 };
enum class StandardInput : std::uint8_t { forwarded, none };

struct Options {
  Verb verb = Verb::ping;
  std::string address = "127.0.0.1:8080";
  Form form = Form::human;
  Talk talk = Talk::normal;
  ShowProgress progress = ShowProgress::automatic;
  OldDialect dialect = OldDialect::none;
  std::vector<std::string> operands;  // LOCAL…, REMOTE [LOCAL], PATH, ARGV…; their number is checked

  Depth depth = Depth::single;             // put, get, ls, rm
  Verify verify = Verify::by_digest;       // put, get
  Begin begin = Begin::anew;               // put, get
  Growth growth = Growth::ignored;         // get
  std::optional<std::string> to;           // put
  Detail detail = Detail::names;           // ls
  DigestKind digest = DigestKind::sha256;  // sum
  Existing existing = Existing::replaced;  // mv
  Parents parents = Parents::expected;     // mkdir
  std::optional<std::string> cwd;          // exec, from here on
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
