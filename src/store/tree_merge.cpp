// Merging: a list of directories still to visit in place of recursion; each is opened by its path, so
// depth costs no descriptors.
#include "store/tree_merge.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>

#include "base/sys.h"
#include "store/listing.h"
#include "store/resolve.h"

namespace ftpd {
namespace {

/// How often a name is looked at again that changes between the look and the move.
constexpr int attempts = 3;

constexpr int readable = O_RDONLY | O_DIRECTORY;
constexpr int look_flags = AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT;

const std::string& or_dot(const std::string& path) {
  static const std::string dot = ".";
  return path.empty() ? dot : path;
}

Result<bool> is_directory(int holder, const char* name) {
  struct stat status{};
  if (sys::fstatat(holder, name, status, look_flags) != 0) return fail_path(errno, name);
  return S_ISDIR(status.st_mode);
}

}  // namespace

struct TreeMerge::Pair {
  std::string directory;  // relative to the tree; "" for the tree itself
  UniqueFd from;
  UniqueFd to;

  [[nodiscard]] std::string name_of(const char* name) const {
    return directory.empty() ? name : directory + "/" + name;
  }
};

int move_directory_to(NameIn from, NameIn to) {
  if (sys::renameat2(from.directory, from.name, to.directory, to.name, RENAME_NOREPLACE) == 0) return 0;
  if (errno != EINVAL) return errno;
  // A file system that can't refuse a name that is taken. It still refuses to replace a file, or a
  // directory that is not empty.
  if (sys::renameat2(from.directory, from.name, to.directory, to.name, 0) == 0) return 0;
  return errno == ENOTEMPTY || errno == ENOTDIR ? EEXIST : errno;
}

Result<void> TreeMerge::check() { return walk(&TreeMerge::look_at); }

Result<void> TreeMerge::move() { return walk(&TreeMerge::move_name); }

Result<void> TreeMerge::walk(Step step) {
  pending_.assign(1, "");
  while (!pending_.empty()) {
    const std::string directory = std::move(pending_.back());
    pending_.pop_back();
    if (auto walked = walk_directory(directory, step); !walked) return walked;
  }
  return {};
}

Result<void> TreeMerge::walk_directory(const std::string& directory, Step step) {
  auto from = open_beneath(tree_.fd(), or_dot(directory), readable);
  if (!from) return std::unexpected(std::move(from.error()));
  auto to = open_beneath(target_, or_dot(directory), readable);
  if (!to) return fail_path(to.error().number, shown(directory));
  const Pair pair{directory, std::move(*from), std::move(*to)};
  DirectoryReader reader(pair.from.get());
  for (;;) {
    const auto name = reader.next();
    if (!name) return std::unexpected(name.error());
    if (!*name) return {};
    if (auto done = (this->*step)(pair, (*name)->data()); !done) return done;
  }
}

Result<TreeMerge::Found> TreeMerge::find(const Pair& pair, const char* name, bool comes_directory) const {
  struct stat status{};
  if (sys::fstatat(pair.to.get(), name, status, look_flags) != 0) {
    if (errno == ENOENT) return Found{};
    return fail_path(errno, shown(pair.name_of(name)));
  }
  if (comes_directory) {
    if (S_ISDIR(status.st_mode)) return Found{InTheWay::directory, 0};
    const int number = S_ISREG(status.st_mode) ? ENOTDIR : S_ISLNK(status.st_mode) ? ELOOP : ENXIO;
    return fail_path(number, shown(pair.name_of(name)));
  }
  if (auto regular = require_regular(status.st_mode, shown(pair.name_of(name))); !regular) {
    return std::unexpected(std::move(regular.error()));
  }
  if (taken_ == Taken::refuse) return fail_path(EEXIST, shown(pair.name_of(name)));
  const bool last_name = status.st_nlink == 1;
  return Found{InTheWay::file, last_name ? static_cast<std::uint64_t>(status.st_size) : 0};
}

Result<void> TreeMerge::look_at(const Pair& pair, const char* name) {
  const auto directory = is_directory(pair.from.get(), name);
  if (!directory) return std::unexpected(directory.error());
  const auto found = find(pair, name, *directory);
  if (!found) return std::unexpected(found.error());
  if (found->what == InTheWay::directory) pending_.push_back(pair.name_of(name));
  return {};
}

Result<void> TreeMerge::move_name(const Pair& pair, const char* name) {
  const auto directory = is_directory(pair.from.get(), name);
  if (!directory) return std::unexpected(directory.error());
  return *directory ? move_directory(pair, name) : move_file(pair, name);
}

Result<void> TreeMerge::move_directory(const Pair& pair, const char* name) {
  for (int attempt = 1;; ++attempt) {
    const auto found = find(pair, name, true);
    if (!found) return std::unexpected(found.error());
    if (found->what == InTheWay::directory) {
      tree_.forget_attributes(pair.name_of(name));
      pending_.push_back(pair.name_of(name));
      return {};
    }
    const int number = move_directory_to({pair.from.get(), name}, {pair.to.get(), name});
    if (number == 0) {
      note_move_into(pair);
      return {};
    }
    if (number != EEXIST || attempt == attempts) return fail_path(number, shown(pair.name_of(name)));
  }
}

Result<void> TreeMerge::move_file(const Pair& pair, const char* name) {
  const auto found = find(pair, name, false);
  if (!found) return std::unexpected(found.error());
  const int number = ftpd::move_file({pair.from.get(), name}, {pair.to.get(), name}, taken_);
  if (number != 0) return fail_path(number, shown(pair.name_of(name)));
  replaced_ += found->size;
  note_move_into(pair);
  return {};
}

void TreeMerge::note_move_into(const Pair& pair) { moved_below_ = moved_below_ || !pair.directory.empty(); }

std::string TreeMerge::shown(const std::string& name) const {
  if (path_.is_root()) return name;
  return name.empty() ? path_.text() : path_.text() + "/" + name;
}

}  // namespace ftpd
