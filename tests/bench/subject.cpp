// Starting ftpd for a row: its configuration, and the line that says where it listens.
#include <fmt/format.h>

#include <fstream>
#include <sstream>
#include <thread>

#include "rows.h"

namespace bench {

namespace {

constexpr std::string_view configuration = R"([[listen]]
address = "127.0.0.1:0"
dialect = "both"

[role.local]
root = "{}"
allow = ["read", "write", "exec", "shell"]
durability = "{}"
max_output = "2GiB"
)";

std::string text_of(const std::filesystem::path& path) {
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

/// The port of `listening address=127.0.0.1:PORT`, 0 while there is no such line.
std::uint16_t listening_port(const std::string& log) {
  constexpr std::string_view words = "listening address=127.0.0.1:";
  const auto at = log.find(words);
  if (at == std::string::npos || log.find('\n', at) == std::string::npos) return 0;
  return static_cast<std::uint16_t>(std::stoul(log.substr(at + words.size(), 5)));
}

std::string_view word(Durability durability) { return durability == Durability::none ? "none" : "fsync"; }

Server start_ftpd(const Settings& settings, const std::filesystem::path& root, Durability durability) {
  const auto file = settings.directory / "ftpd.toml";
  const auto log = settings.directory / "ftpd.log";
  std::ofstream(file) << fmt::format(configuration, root.string(), word(durability));
  std::filesystem::remove(log);
  auto process = Process::execute({settings.ftpd.string(), "-c", file.string()}, log);
  const auto end = Clock::now() + std::chrono::seconds(10);
  while (true) {
    // Its log goes to a file, so that nothing the daemon writes can make it wait for us.
    const auto text = text_of(log);
    if (const auto port = listening_port(text)) return {.process = std::move(process), .port = port};
    if (!process.alive() || Clock::now() > end) {
      throw Broken(fmt::format("{} does not listen:\n{}", settings.ftpd.string(), text));
    }
    std::this_thread::sleep_for(milliseconds(5));
  }
}

/// In memory what an earlier daemon left makes room; on a disk nothing is removed before the end.
std::filesystem::path make_root(const Settings& settings, Durability durability) {
  auto root = settings.directory / "root";
  if (durability == Durability::none) {
    std::filesystem::remove_all(root);
    std::filesystem::create_directory(root);
  } else {
    root = fresh_directory(settings.disk);
  }
  std::filesystem::permissions(root, std::filesystem::perms::owner_all);
  return root;
}

}  // namespace

Subject::Subject(const Settings& settings, Durability durability)
    : root_(make_root(settings, durability)),
      server_(settings.ftpd.empty() ? start_minimal_server(root_) : start_ftpd(settings, root_, durability)) {
}

}  // namespace bench
