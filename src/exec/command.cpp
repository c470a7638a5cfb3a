// The environment of commands, and the names of signals.
#include "exec/command.h"

#include <fmt/format.h>
#include <signal.h>
#include <string.h>

#include <algorithm>
#include <array>
#include <cstdlib>

namespace ftpd {
namespace {

constexpr std::array inherited_names = {"PATH", "LANG", "HOME", "USER", "SHELL", "TZ"};
constexpr const char* default_path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

void set(std::vector<std::string>& environment, std::string_view name, std::string_view value) {
  std::string entry = fmt::format("{}={}", name, value);
  const auto same = std::ranges::find_if(environment, [&](std::string_view old) {
    return old.size() > name.size() && old[name.size()] == '=' && old.starts_with(name);
  });
  if (same != environment.end()) {
    *same = std::move(entry);
  } else {
    environment.push_back(std::move(entry));
  }
}

}  // namespace

std::vector<std::string> command_environment(const std::vector<std::pair<std::string, std::string>>& added) {
  std::vector<std::string> environment;
  environment.reserve(inherited_names.size() + added.size());
  for (const char* const name : inherited_names) {
    if (const char* const value = std::getenv(name); value != nullptr) {
      environment.push_back(fmt::format("{}={}", name, value));
    } else if (std::string_view(name) == "PATH") {
      environment.push_back(fmt::format("{}={}", name, default_path));
    }
  }
  for (const auto& [name, value] : added) set(environment, name, value);
  return environment;
}

std::string signal_name(int number) {
  if (const char* const name = ::sigabbrev_np(number); name != nullptr) return fmt::format("SIG{}", name);
  if (number == SIGRTMIN) return "SIGRTMIN";
  if (number > SIGRTMIN && number <= SIGRTMAX) return fmt::format("SIGRTMIN+{}", number - SIGRTMIN);
  return fmt::format("SIG{}", number);
}

}  // namespace ftpd
