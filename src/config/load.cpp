// From TOML to Settings: every value judged by its row of the table, every problem collected.
#include "config/load.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "base/sys.h"
#include "base/unique_fd.h"
#include "config/settings_table.h"

namespace ftpd {
namespace {

constexpr std::size_t largest_file = 1U << 20U;

/// The longest prefix of `key` that has a line: "listen[1].address", "listen[1]", "listen".
std::map<std::string, unsigned>::const_iterator find_line(const std::map<std::string, unsigned>& lines,
                                                          std::string key) {
  while (!key.empty()) {
    if (const auto found = lines.find(key); found != lines.end()) return found;
    const std::size_t cut = key.find_last_of(".[");
    key.resize(cut == std::string::npos ? 0 : cut);
  }
  return lines.end();
}

Result<std::string> read_file(const std::string& file) {
  open_how how{};
  how.flags = O_RDONLY | O_CLOEXEC;
  const UniqueFd fd{sys::openat2(AT_FDCWD, file.c_str(), how)};
  if (!fd) return fail_errno(errno, "cannot be opened");
  std::string text(largest_file + 1, '\0');
  std::size_t size = 0;
  while (size < text.size()) {
    const ssize_t got = sys::read(fd.get(), text.data() + size, text.size() - size);
    if (got < 0) return fail_errno(errno, "cannot be read");
    if (got == 0) break;
    size += static_cast<std::size_t>(got);
  }
  if (size > largest_file)
    return fail(Reason::too_large, fmt::format("is larger than {}", print_size(largest_file)));
  text.resize(size);
  return text;
}

std::expected<LoadedSettings, Problems> check_and_finish(std::expected<Draft, Problem> draft) {
  if (!draft) return std::unexpected(Problems{std::move(draft.error())});
  check_settings(draft->loaded, draft->problems);
  return finish(std::move(*draft));
}

void check_role(const LoadedSettings& loaded, std::size_t index, Problems& problems) {
  const ListenSettings& listen = loaded.settings.listen[index];
  if (listen.role.empty() || loaded.settings.roles.contains(listen.role)) return;
  std::string known;
  for (const auto& [name, role] : loaded.settings.roles) {
    known += fmt::format("{}{}", known.empty() ? "" : ", ", settings::quoted(name));
  }
  problems.push_back(loaded.problem(
      fmt::format("listen[{}].role", index + 1),
      fmt::format("there is no [role.{}], allowed: {}; or \"\", who connects must then authenticate",
                  settings::key_text(listen.role), known)));
}

}  // namespace

std::string Problem::message() const {
  std::string out = file;
  if (line != 0) out += fmt::format(":{}", line);
  if (!out.empty()) out += ": ";
  if (!key.empty()) out += fmt::format("{}: ", key);
  return out + text;
}

Problem LoadedSettings::problem(std::string key, std::string text) const {
  const auto found = find_line(lines, key);
  if (found == lines.end()) return {file, 0, std::move(key), std::move(text)};
  if (found->second == by_option) return {"command line", 0, std::move(key), std::move(text)};
  return {file, found->second, std::move(key), std::move(text)};
}

std::expected<Draft, Problem> draft_settings_file(const std::string& file) {
  const Result<std::string> text = read_file(file);
  if (!text) return std::unexpected(Problem{file, 0, "", text.error().text});
  return draft_settings(*text, file);
}

void check_settings(const LoadedSettings& loaded, Problems& problems) {
  const std::uint32_t max_header = loaded.settings.server.max_header;
  std::string takes_text;
  for (std::size_t i = 0; i < loaded.settings.listen.size(); ++i) {
    check_role(loaded, i, problems);
    const bool text = loaded.settings.listen[i].dialect != DialectChoice::frame;
    if (text && takes_text.empty()) takes_text = fmt::format("listen[{}]", i + 1);
  }
  if (max_header <= settings::largest_text_header || takes_text.empty()) return;
  problems.push_back(loaded.problem(
      "server.max_header", fmt::format("{} is too large where a listener takes the text dialect ({} does), "
                                       "allowed: at most {}, or dialect = \"frame\" for every listener",
                                       max_header, takes_text, settings::largest_text_header)));
}

std::expected<LoadedSettings, Problems> finish(Draft draft) {
  if (draft.problems.empty()) return std::move(draft.loaded);
  std::ranges::stable_sort(draft.problems, {}, &Problem::line);
  return std::unexpected(std::move(draft.problems));
}

std::expected<LoadedSettings, Problems> parse_settings(std::string_view toml, std::string file) {
  return check_and_finish(draft_settings(toml, std::move(file)));
}

std::expected<LoadedSettings, Problems> load_settings(const std::string& file) {
  return check_and_finish(draft_settings_file(file));
}

}  // namespace ftpd
