// The walk: one list of names for each directory on the way down, one open directory at a time.
#include "store/tree_download.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <string>
#include <vector>

#include "base/sys.h"
#include "store/listing.h"
#include "store/resolve.h"
#include "store/store.h"

namespace ftpd {
namespace {

constexpr int directory_flags = O_RDONLY | O_DIRECTORY | O_NONBLOCK;
constexpr std::size_t chunk = 256 * 1024;
constexpr std::size_t most_names = 64U << 20U;  // bytes of memory, of all the lists together

/// It went, or became something else, between the look and the open.
bool has_vanished(int number) {
  return number == ENOENT || number == ENOTDIR || number == ELOOP || number == ENXIO;
}

}  // namespace

class TreeSender {
 public:
  TreeSender(const Store& store, const RelPath& path, const TarSink& sink)
      : root_(store.root_.get()), path_(path), writer_(sink), buffer_(new char[chunk]) {}

  [[nodiscard]] Result<TreeSent> send() {
    if (auto opened = open_top(); !opened) return std::unexpected(std::move(opened.error()));
    while (!levels_.empty()) {
      Level& level = levels_.back();
      if (level.next == level.names.size()) {
        leave();
        continue;
      }
      const std::string name = std::move(level.names[level.next++]);
      if (auto sent = send_name(name); !sent) return std::unexpected(std::move(sent.error()));
    }
    if (auto finished = writer_.finish(); !finished) return std::unexpected(std::move(finished.error()));
    return sent_;
  }

 private:
  struct Level {
    std::string path;  // relative to the top; "" or "a/b/"
    std::vector<std::string> names;
    std::size_t next = 0;
    std::size_t cost = 0;  // bytes of memory
  };

  Result<void> open_top() {
    auto top = open_beneath(root_, path_.text(), directory_flags);
    if (!top) {
      // A link that is itself what was asked for is like a file: no directory. One on the way is denied.
      const auto status =
          top.error().number == ELOOP ? stat_beneath(root_, path_) : std::unexpected(top.error());
      if (status && S_ISLNK(status->st_mode)) return fail_path(ENOTDIR, path_.text());
      return std::unexpected(std::move(top.error()));
    }
    top_ = std::move(*top);
    auto again = open_beneath(top_.get(), ".", directory_flags);
    if (!again) return std::unexpected(std::move(again.error()));
    return enter("", std::move(*again));
  }

  /// Reads the names in `directory`.
  Result<void> enter(std::string path, UniqueFd directory) {
    Level level{.path = std::move(path), .names = {}};
    const bool at_root = path_.is_root() && level.path.empty();
    DirectoryReader reader(directory.get());
    for (;;) {
      const auto name = reader.next();
      if (!name) return std::unexpected(name.error());
      if (!*name) break;
      if (at_root && **name == ".ftpd") continue;
      level.cost += sizeof(std::string) + (*name)->size();
      if (names_cost_ + level.cost > most_names) {
        return fail(Reason::too_large,
                    fmt::format("\"{}\" holds too many names for one stream", shown(level.path)));
      }
      level.names.emplace_back(**name);
    }
    std::ranges::sort(level.names);
    // A directory that changes while it is read may show one name twice.
    const auto twice = std::ranges::unique(level.names);
    level.names.erase(twice.begin(), twice.end());
    names_cost_ += level.cost;
    levels_.push_back(std::move(level));
    directory_ = std::move(directory);
    return {};
  }

  void leave() {
    names_cost_ -= levels_.back().cost;
    levels_.pop_back();
    directory_.reset();  // of the level that ended
  }

  /// The directory whose names are being sent; opened again after one below it.
  Result<int> directory() {
    if (!directory_) {
      const std::string& path = levels_.back().path;
      auto opened = open_beneath(top_.get(), path.empty() ? "." : path, directory_flags);
      if (!opened) return std::unexpected(std::move(opened.error()));
      directory_ = std::move(*opened);
    }
    return directory_.get();
  }

  Result<void> send_name(const std::string& name) {
    const auto holder = directory();
    if (!holder) {
      if (!has_vanished(holder.error().number)) return std::unexpected(holder.error());
      levels_.back().next = levels_.back().names.size();
      return {};
    }
    struct stat status{};
    if (sys::fstatat(*holder, name.c_str(), status, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT) != 0) {
      if (errno == ENOENT) return {};
      return fail_path(errno, shown(levels_.back().path + name));
    }
    if (S_ISDIR(status.st_mode)) return send_directory(*holder, name);
    // To open a device may do something, and a FIFO blocks, so only what is a file is opened at all.
    if (S_ISREG(status.st_mode)) return send_file(*holder, name);
    ++sent_.skipped;
    return {};
  }

  Result<void> send_directory(int holder, const std::string& name) {
    std::string path = levels_.back().path + name;
    if (path.size() >= RelPath::max_size) {
      return fail(Reason::too_large, fmt::format("\"{}\" holds directories too deep to be sent: at most {} "
                                                 "bytes of path are allowed",
                                                 path_.text(), RelPath::max_size));
    }
    auto directory = open_beneath(holder, name, directory_flags);
    if (!directory) return unless_vanished(directory.error(), path);
    struct stat status{};
    if (sys::fstat(directory->get(), status) != 0) return fail_path(errno, shown(path));
    path += '/';
    const TarHeader header{path, TarHeader::Type::directory, status.st_mode & 0777, status.st_mtim, 0};
    if (auto begun = writer_.begin(header); !begun) return begun;
    ++sent_.directories;
    return enter(std::move(path), std::move(*directory));
  }

  Result<void> send_file(int holder, const std::string& name) {
    const std::string path = levels_.back().path + name;
    const auto file = open_beneath(holder, name, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_NOFOLLOW);
    if (!file) return unless_vanished(file.error(), path);
    struct stat status{};
    if (sys::fstat(file->get(), status) != 0) return fail_path(errno, shown(path));
    if (!S_ISREG(status.st_mode)) {
      ++sent_.skipped;
      return {};
    }
    const auto size = static_cast<std::uint64_t>(status.st_size);
    const TarHeader header{path, TarHeader::Type::file, status.st_mode & 0777, status.st_mtim, size};
    if (auto begun = writer_.begin(header); !begun) return begun;
    if (auto sent = send_content(file->get(), size, path); !sent) return sent;
    ++sent_.files;
    sent_.bytes += size;
    return {};
  }

  Result<void> send_content(int file, std::uint64_t size, const std::string& path) {
    while (size > 0) {
      const auto most = static_cast<std::size_t>(std::min<std::uint64_t>(size, chunk));
      const ssize_t count = sys::read(file, buffer_.get(), most);
      if (count < 0) return fail_errno(errno, fmt::format("read \"{}\"", shown(path)));
      if (count == 0) {
        return fail(Reason::system, fmt::format("\"{}\" has become shorter while it was sent", shown(path)));
      }
      const auto taken = static_cast<std::size_t>(count);
      if (auto written = writer_.write({buffer_.get(), taken}); !written) return written;
      size -= taken;
    }
    return {};
  }

  /// The Error, with the name below the root; none for what is only gone.
  Result<void> unless_vanished(const Error& error, const std::string& path) {
    if (error.number == ENOENT) return {};
    if (has_vanished(error.number)) {
      ++sent_.skipped;
      return {};
    }
    return fail_path(error.number, shown(path));
  }

  [[nodiscard]] std::string shown(const std::string& path) const {
    return path_.is_root() ? path : path_.text() + "/" + path;
  }

  int root_;
  const RelPath& path_;
  TarWriter writer_;
  std::unique_ptr<char[]> buffer_;
  UniqueFd top_;
  UniqueFd directory_;  // of the last level; none after the one below it has ended
  std::vector<Level> levels_;
  std::size_t names_cost_ = 0;
  TreeSent sent_;
};

Result<TreeSent> send_tree(const Store& store, const RelPath& path, const TarSink& sink) {
  return TreeSender(store, path, sink).send();
}

}  // namespace ftpd
