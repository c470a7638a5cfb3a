// Counting a tree: a list of directories still to visit in place of recursion.
#include "store/tree_size.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/sys.h"
#include "store/held.h"
#include "store/home.h"
#include "store/listing.h"
#include "store/resolve.h"

namespace ftpd {
namespace {

/// A directory that gives those below it the base of their paths, so that no path is too long.
struct Base {
  UniqueFd directory;
  unsigned depth = 0;  // bases above it
};

struct ToVisit {
  std::shared_ptr<const Base> base;
  std::string path;  // relative to it
};

constexpr std::size_t longest_path = 2048;
constexpr unsigned most_bases = 64;

bool is_gone(int number) { return number == ENOENT || number == ENOTDIR || number == ELOOP; }
bool is_closed(int number) { return number == EACCES || number == EPERM; }

class Counter {
 public:
  explicit Counter(const std::unordered_map<ino_t, std::uint64_t>& sizes) : sizes_(sizes) {}

  [[nodiscard]] Result<std::uint64_t> count(int root) {
    auto top = open_beneath(root, ".", home_directory_flags);
    if (!top) return std::unexpected(std::move(top.error()));
    const auto base = std::make_shared<const Base>(Base{std::move(*top)});
    if (auto added = add(base->directory.get(), {base, ""}, Within::root); !added) {
      return std::unexpected(std::move(added.error()));
    }
    if (auto added = add_held(base); !added) return std::unexpected(std::move(added.error()));
    while (!directories_.empty()) {
      const ToVisit next = std::move(directories_.back());
      directories_.pop_back();
      if (auto visited = visit(next); !visited) return std::unexpected(std::move(visited.error()));
    }
    return bytes_;
  }

 private:
  enum class Within : std::uint8_t { root, home, tree };

  [[nodiscard]] Result<void> visit(const ToVisit& next) {
    auto directory = open_beneath(next.base->directory.get(), next.path, home_directory_flags);
    if (!directory) {
      const int number = directory.error().number;
      if (is_gone(number) || is_closed(number)) return {};  // replaced by something else, or not ours to read
      return std::unexpected(std::move(directory.error()));
    }
    if (next.path.size() < longest_path) return add(directory->get(), next, Within::tree);
    if (next.base->depth == most_bases)
      return fail(Reason::too_large, "directories are too deep to be counted");
    const auto base = std::make_shared<const Base>(Base{std::move(*directory), next.base->depth + 1});
    return add(base->directory.get(), {base, ""}, Within::tree);
  }

  [[nodiscard]] Result<void> add_held(const std::shared_ptr<const Base>& base) {
    const auto home = open_home(base->directory.get());
    if (home) return add(home->get(), {base, home_name}, Within::home);
    if (is_gone(home.error().number)) return {};
    return std::unexpected(home.error());
  }

  [[nodiscard]] Result<void> add(int directory, const ToVisit& where, Within within) {
    DirectoryReader reader(directory);
    for (;;) {
      const auto name = reader.next();
      if (!name) return std::unexpected(name.error());
      if (!*name) return {};
      if (within == Within::root && **name == home_name) continue;
      if (within == Within::home && !(**name).starts_with(held_prefix)) continue;
      struct stat status{};
      if (sys::fstatat(directory, (*name)->data(), status, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT) != 0) {
        if (errno == ENOENT || is_closed(errno)) continue;
        return fail_errno(errno, "count the files below the root");
      }
      if (S_ISREG(status.st_mode)) {
        add_file(status);
      } else if (S_ISDIR(status.st_mode)) {
        std::string path = where.path;
        if (!path.empty()) path += '/';
        path += **name;
        directories_.push_back({where.base, std::move(path)});
      }
    }
  }

  void add_file(const struct stat& status) {
    if (status.st_nlink > 1 && !linked_.emplace(status.st_dev, status.st_ino).second) return;
    const auto size = sizes_.find(status.st_ino);
    bytes_ += size != sizes_.end() ? size->second : static_cast<std::uint64_t>(status.st_size);
  }

  const std::unordered_map<ino_t, std::uint64_t>& sizes_;
  std::vector<ToVisit> directories_;
  std::set<std::pair<dev_t, ino_t>> linked_;
  std::uint64_t bytes_ = 0;
};

}  // namespace

Result<std::uint64_t> tree_size(int root, const std::unordered_map<ino_t, std::uint64_t>& sizes) {
  return Counter(sizes).count(root);
}

}  // namespace ftpd
