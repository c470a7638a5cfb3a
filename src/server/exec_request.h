// What an exec asks for, read and checked.
#pragma once

#include <string>
#include <vector>

#include "server/command_request.h"
#include "server/fields.h"
#include "server/operation.h"

namespace ftpd {

enum class OnEnd : std::uint8_t { finish, kill };  // `on_eof`

struct ExecRequest {
  std::vector<std::string> argv;
  std::vector<std::string> environment;
  RelPath directory = RelPath::root();
  Duration timeout{};
  bool merge = false;
  CommandRun::Output output = CommandRun::Output::kept;
  bool has_input = false;
  OnEnd on_eof = OnEnd::finish;
};

[[nodiscard]] Read<ExecRequest> read_exec(const Request& request, const Host& host);

}  // namespace ftpd
