// Reads /proc and decides from it which process belongs to which command.
#include "exec/process_table.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstddef>
#include <cstring>
#include <map>
#include <string_view>
#include <unordered_map>

#include "base/sys.h"
#include "exec/descendants.h"
#include "exec/tree_memory.h"

namespace ftpd {
namespace {

constexpr std::size_t max_environment = std::size_t{4} << 20U;  // more than execve(2) takes by default
constexpr std::size_t not_here = SIZE_MAX;

int open_in(int directory, const char* path, std::uint64_t flags) {
  open_how how{};
  how.flags = flags | O_RDONLY | O_CLOEXEC;
  return sys::openat2(directory, path, how);
}

template <class Number>
bool take_number(std::string_view& text, Number& out) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  if (error != std::errc{}) return false;
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  return text.empty() || text.front() == ' ' || text.front() == '\n';
}

/// The word after the next space.
bool next_word(std::string_view& text) {
  const std::size_t space = text.find(' ');
  if (space == std::string_view::npos) return false;
  text.remove_prefix(space + 1);
  return true;
}

bool skip_words(std::string_view& text, int count) {
  while (count-- > 0) {
    if (!next_word(text)) return false;
  }
  return true;
}

/// Finds `NAME=` at the start of an entry in text that arrives in pieces, and takes its value.
class MarkFinder {
 public:
  /// True when nothing more is needed.
  bool feed(std::string_view piece) {
    text_.append(piece);
    for (;;) {
      const std::size_t end = text_.find('\0', begin_);
      if (end == std::string::npos) break;
      const std::string_view entry(text_.data() + begin_, end - begin_);
      if (entry.size() > mark_name.size() && entry[mark_name.size()] == '=' && entry.starts_with(mark_name)) {
        mark_ = entry.substr(mark_name.size() + 1);
        return true;
      }
      begin_ = end + 1;
    }
    text_.erase(0, begin_);
    begin_ = 0;
    return false;
  }
  [[nodiscard]] std::string take() { return std::move(mark_); }

 private:
  std::string text_;
  std::size_t begin_ = 0;
  std::string mark_;
};

}  // namespace

std::optional<Process> parse_stat(std::string_view text) {
  // pid (name) state parent group session … threads(20) … start(22); the name may hold anything.
  Process process;
  if (!take_number(text, process.pid)) return std::nullopt;
  const std::size_t name_end = text.rfind(')');
  if (name_end == std::string_view::npos || name_end + 3 >= text.size()) return std::nullopt;
  text.remove_prefix(name_end + 2);
  const char state = text.front();
  long threads = 0;
  if (!next_word(text) || !take_number(text, process.parent)) return std::nullopt;
  if (!next_word(text) || !take_number(text, process.group)) return std::nullopt;
  if (!next_word(text) || !take_number(text, process.session)) return std::nullopt;
  if (!skip_words(text, 14) || !take_number(text, threads)) return std::nullopt;
  if (!skip_words(text, 2) || !take_number(text, process.start)) return std::nullopt;
  // A first thread that has ended looks like a zombie while the others go on.
  process.dead = (state == 'Z' || state == 'X') && threads <= 1;
  return process;
}

Result<ProcessTable> ProcessTable::read() {
  UniqueFd proc(open_in(AT_FDCWD, "/proc", O_DIRECTORY));
  if (!proc) return fail_errno(errno, "open /proc");
  ProcessTable table(std::move(proc));
  if (auto done = table.read_all(); !done) return std::unexpected(std::move(done.error()));
  return table;
}

Result<void> ProcessTable::read_all() {
  alignas(dirent64) std::array<char, 32768> names;
  for (;;) {
    const ssize_t size = sys::getdents64(proc_.get(), names.data(), names.size());
    if (size < 0) return fail_errno(errno, "read /proc");
    if (size == 0) break;
    for (std::size_t at = 0; at < static_cast<std::size_t>(size);) {
      const char* const entry = names.data() + at;
      unsigned short length = 0;
      std::memcpy(&length, entry + offsetof(dirent64, d_reclen), sizeof length);
      const std::string_view name(entry + offsetof(dirent64, d_name));
      at += length;
      if (name.empty() || name.front() < '0' || name.front() > '9') continue;
      if (const auto process = read_one(name)) processes_.push_back(*process);
    }
  }
  std::ranges::sort(processes_, {}, &Process::pid);

  const pid_t self = ::getpid();
  std::vector<int> below(processes_.size(), -1);
  for (std::size_t i = 0; i < processes_.size(); ++i) {
    if (processes_[i].pid == self) below[i] = 0;
  }
  below = inherited(std::move(below));
  std::size_t kept = 0;
  for (std::size_t i = 0; i < processes_.size(); ++i) {
    if (below[i] == 0 && processes_[i].pid != self) processes_[kept++] = processes_[i];
  }
  processes_.resize(kept);
  return {};
}

std::optional<Process> ProcessTable::read_one(std::string_view pid) const {
  const UniqueFd file(open_in(proc_.get(), fmt::format("{}/stat", pid).c_str(), 0));
  if (!file) return std::nullopt;  // it has gone
  std::array<char, 1024> text;
  const ssize_t size = sys::read(file.get(), text.data(), text.size());
  if (size <= 0) return std::nullopt;
  return parse_stat({text.data(), static_cast<std::size_t>(size)});
}

std::string ProcessTable::mark_of(pid_t pid) const {
  const UniqueFd file(open_in(proc_.get(), fmt::format("{}/environ", pid).c_str(), 0));
  if (!file) return {};
  MarkFinder finder;
  std::array<char, 16384> piece;
  for (std::size_t total = 0; total < max_environment;) {
    const ssize_t size = sys::read(file.get(), piece.data(), piece.size());
    if (size <= 0) break;
    total += static_cast<std::size_t>(size);
    if (finder.feed({piece.data(), static_cast<std::size_t>(size)})) return finder.take();
  }
  return {};
}

std::size_t ProcessTable::index_of(pid_t pid) const {
  const auto found = std::ranges::lower_bound(processes_, pid, {}, &Process::pid);
  if (found == processes_.end() || found->pid != pid) return not_here;
  return static_cast<std::size_t>(found - processes_.begin());
}

const Process* ProcessTable::find(pid_t pid) const {
  const std::size_t index = index_of(pid);
  return index == not_here ? nullptr : &processes_[index];
}

/// Hands owners down: a process without one gets its nearest ancestor's. Linear; a snapshot that is
/// torn may even hold a cycle.
std::vector<int> ProcessTable::inherited(std::vector<int> owners) const {
  enum class Visit : char { open, on_path, settled };
  std::vector<Visit> visits(processes_.size(), Visit::open);
  std::vector<std::size_t> path;
  for (std::size_t i = 0; i < processes_.size(); ++i) {
    int owner = -1;
    std::size_t at = i;
    while (at != not_here && visits[at] == Visit::open) {
      visits[at] = Visit::on_path;
      path.push_back(at);
      if (owners[at] >= 0) break;
      at = index_of(processes_[at].parent);
    }
    if (at != not_here) owner = owners[at];
    for (; !path.empty(); path.pop_back()) {
      const std::size_t step = path.back();
      if (owners[step] < 0) owners[step] = owner;
      visits[step] = Visit::settled;
    }
  }
  return owners;
}

/// A session outlives its leader, and keeps the leader's number from being used again. But once both
/// are gone the number is anybody's.
bool ProcessTable::holds_session_of(const CommandTree& tree) const {
  if (tree.leader <= 0) return false;
  if (tree.memory == nullptr) return true;
  if (tree.memory->is_session_reused()) return false;
  return !tree.memory->is_leader_reaped() || find(tree.leader) == nullptr;
}

std::vector<int> ProcessTable::owners(std::span<const CommandTree> trees) const {
  std::unordered_map<pid_t, int> by_session;
  std::map<ProcessName, int> by_name;
  std::unordered_map<std::string_view, int> by_mark;
  for (std::size_t i = 0; i < trees.size(); ++i) {
    const CommandTree& tree = trees[i];
    const int index = static_cast<int>(i);
    if (holds_session_of(tree)) by_session.emplace(tree.leader, index);
    if (!tree.mark.empty()) by_mark.emplace(tree.mark, index);
    if (tree.memory == nullptr) continue;
    for (const ProcessName& name : tree.memory->hidden()) by_name.emplace(name, index);
  }
  std::vector<int> told(processes_.size(), -1);
  for (std::size_t i = 0; i < processes_.size(); ++i) {
    const Process& process = processes_[i];
    if (const auto session = by_session.find(process.session); session != by_session.end()) {
      told[i] = session->second;
    } else if (const auto name = by_name.find(process.name()); name != by_name.end()) {
      told[i] = name->second;
    } else if (by_mark.empty()) {
      continue;
    } else if (const auto mark = by_mark.find(mark_of(process.pid)); mark != by_mark.end()) {
      told[i] = mark->second;
    }
  }
  const std::vector<int> owners = inherited(told);
  for (std::size_t i = 0; i < processes_.size(); ++i) {
    if (owners[i] < 0 || told[i] >= 0) continue;
    const CommandTree& tree = trees[static_cast<std::size_t>(owners[i])];
    if (tree.memory != nullptr) tree.memory->remember(processes_[i].name());
  }
  return owners;
}

void ProcessTable::signal(const Process& process, int signal) const {
  // The pidfd first, then the look: if the look finds the same process, the pidfd names it.
  const UniqueFd pidfd(sys::pidfd_open(process.pid, 0));
  if (!pidfd) return;
  const auto now = read_one(fmt::format("{}", process.pid));
  if (!now || now->start != process.start) return;
  // It fails only where the process has ended meanwhile.
  [[maybe_unused]] const int sent = sys::pidfd_send_signal(pidfd.get(), signal);
}

}  // namespace ftpd
