// A directory of ours with all that is below it: openat2(2) and getdents64(2), a stack in place of
// recursion.
#include "client/local_tree.h"

#include <dirent.h>
#include <fcntl.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "base/sys.h"
#include "client/local_files.h"

namespace ftpd::client {
namespace {

constexpr std::uint64_t directory_flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC;

/// `name` in `directory` and nowhere else.
UniqueFd open_in(int directory, const char* name, std::uint64_t flags) {
  return UniqueFd{sys::openat2(directory, name,
                               {.flags = flags | O_CLOEXEC | O_NOFOLLOW,
                                .mode = 0,
                                .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS})};
}

}  // namespace

Outcome<LocalTree> LocalTree::open(const std::string& path, Report& report) {
  UniqueFd fd{sys::openat2(AT_FDCWD, path.c_str(), {.flags = directory_flags, .mode = 0, .resolve = 0})};
  if (!fd) return local_failure(std::error_code{errno, std::system_category()}.message());
  LocalTree tree{path, report};
  if (!tree.enter(std::move(fd), {})) return local_failure("it could not be read");
  return tree;
}

std::optional<TreeEntry> LocalTree::next() {
  while (!levels_.empty()) {
    if (levels_.back().names.empty()) {
      levels_.pop_back();
      continue;
    }
    Name name = std::move(levels_.back().names.back());
    levels_.back().names.pop_back();
    if (auto entry = take(levels_.back(), std::move(name))) return entry;
  }
  return std::nullopt;
}

std::optional<TreeEntry> LocalTree::take(const Level& level, Name name) {
  TreeEntry entry;
  entry.name = joined(level.name, name.text);
  entry.path = path_of(entry.name);
  if (name.type == DT_UNKNOWN) {
    if (sys::fstatat(level.fd.get(), name.text.c_str(), entry.about, AT_SYMLINK_NOFOLLOW) != 0) {
      failed(entry.path, errno);
      return std::nullopt;
    }
    name.type = static_cast<unsigned char>(IFTODT(entry.about.st_mode));
  }
  if (name.type == DT_REG) return take_file(level, std::move(entry), name.text.c_str());
  if (name.type == DT_DIR) return take_directory(level, std::move(entry), name.text.c_str());
  report_->note(entry.path, name.type == DT_LNK ? "not sent: a symbolic link" : "not sent: no regular file");
  return std::nullopt;
}

std::optional<TreeEntry> LocalTree::take_file(const Level& level, TreeEntry entry, const char* name) {
  // What was a file a moment ago may be something else now: neither follow nor wait.
  entry.fd = open_in(level.fd.get(), name, O_RDONLY | O_NONBLOCK | O_NOCTTY);
  if (!entry.fd || sys::fstat(entry.fd.get(), entry.about) != 0) {
    failed(entry.path, errno);
    return std::nullopt;
  }
  if (!S_ISREG(entry.about.st_mode)) {
    report_->failed(entry.path, {Failure::Who::local, "no regular file any more"});
    return std::nullopt;
  }
  return entry;
}

std::optional<TreeEntry> LocalTree::take_directory(const Level& level, TreeEntry entry, const char* name) {
  entry.kind = TreeEntry::Kind::directory;
  UniqueFd fd = open_in(level.fd.get(), name, directory_flags);
  if (!fd || sys::fstat(fd.get(), entry.about) != 0) {
    failed(entry.path, errno);
    return std::nullopt;
  }
  // Where its names can't be read, the directory itself still travels.
  (void)enter(std::move(fd), entry.name);
  return entry;
}

/// Reads the names; they are the next ones from here on.
bool LocalTree::enter(UniqueFd fd, std::string name) {
  Level level{std::move(fd), std::move(name), {}};
  alignas(dirent64) std::array<char, 32U * 1024> buffer;
  for (;;) {
    const ssize_t count = sys::getdents64(level.fd.get(), buffer.data(), buffer.size());
    if (count < 0) {
      failed(path_of(level.name), errno);
      return false;
    }
    if (count == 0) break;
    for (std::size_t at = 0; at < static_cast<std::size_t>(count);) {
      // The kernel aligns each record to 8 bytes.
      const auto* const record = reinterpret_cast<const dirent64*>(buffer.data() + at);
      at += record->d_reclen;
      std::string text{record->d_name};
      if (text != "." && text != "..") level.names.push_back({std::move(text), record->d_type});
    }
  }
  std::ranges::sort(level.names, std::ranges::greater{}, &Name::text);
  levels_.push_back(std::move(level));
  return true;
}

std::string LocalTree::path_of(const std::string& name) const { return joined(top_, name); }

void LocalTree::failed(const std::string& path, int number) {
  report_->failed(path, {Failure::Who::local, std::error_code{number, std::system_category()}.message()});
}

}  // namespace ftpd::client
