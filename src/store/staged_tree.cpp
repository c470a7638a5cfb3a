// Making a tree below the staging directory, one descriptor away from any name.
#include "store/staged_tree.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <ranges>

#include "base/sys.h"
#include "store/names.h"
#include "store/resolve.h"

namespace ftpd {
namespace {

constexpr mode_t owner_bits = 0700;
constexpr int readable = O_RDONLY | O_DIRECTORY;

std::string parent_of(const std::string& name) {
  const std::size_t slash = name.rfind('/');
  return slash == std::string::npos ? "" : name.substr(0, slash);
}
std::string last_of(const std::string& name) { return name.substr(name.rfind('/') + 1); }

/// "" is the tree itself.
Result<UniqueFd> open_in(int top, const std::string& name) {
  return open_beneath(top, name.empty() ? "." : name, readable);
}

bool is_late(mode_t mode) { return (mode & owner_bits) != owner_bits; }

}  // namespace

Result<StagedTree> StagedTree::make(int root) {
  auto staging = StagingDirectory::make(root);
  if (!staging) return std::unexpected(std::move(staging.error()));
  StagedTree tree(std::move(*staging));
  if (sys::mkdirat(tree.staging_->fd(), own_name, 0755) != 0) {
    return fail_errno(errno, "can't make a directory for the upload in \".ftpd\"");
  }
  auto top = open_beneath(tree.staging_->fd(), own_name, readable);
  if (!top) return std::unexpected(std::move(top.error()));
  tree.top_ = std::move(*top);
  return tree;
}

StagedTree::~StagedTree() {
  if (staging_ == nullptr) return;
  // Once more where it failed: what is left would be there until the daemon starts again.
  if (!remove_tree(staging_->fd(), own_name)) static_cast<void>(remove_tree(staging_->fd(), own_name));
}

// --- making ---------------------------------------------------------------------------------------
Result<int> StagedTree::holder_of(const std::string& name) {
  std::string path = parent_of(name);
  if (path.empty()) return top_.get();
  if (open_directory_ && path == open_path_) return open_directory_.get();
  auto directory = open_beneath(top_.get(), path, O_PATH | O_DIRECTORY);
  if (!directory && directory.error().number == ENOENT) {
    if (auto made = make_directories(path); !made) return std::unexpected(std::move(made.error()));
    directory = open_beneath(top_.get(), path, O_PATH | O_DIRECTORY);
  }
  if (!directory) return std::unexpected(std::move(directory.error()));
  open_directory_ = std::move(*directory);
  open_path_ = std::move(path);
  return open_directory_.get();
}

Result<void> StagedTree::make_directories(const std::string& path) {
  UniqueFd holder;
  for (std::size_t begin = 0; begin <= path.size();) {
    const std::size_t end = std::min(path.find('/', begin), path.size());
    const std::string component = path.substr(begin, end - begin);
    const int above = holder ? holder.get() : top_.get();
    auto next = open_beneath(above, component, O_PATH | O_DIRECTORY);
    if (!next && next.error().number == ENOENT) {
      if (auto made = make_directory(above, path.substr(0, end)); !made) return made;
      next = open_beneath(above, component, O_PATH | O_DIRECTORY);
    }
    if (!next) return fail_path(next.error().number, path.substr(0, end));
    holder = std::move(*next);
    begin = end + 1;
  }
  return {};
}

Result<void> StagedTree::make_directory(int holder, const std::string& name) {
  if (auto charged = charge(name); !charged) return charged;
  if (sys::mkdirat(holder, last_of(name).c_str(), 0755) != 0) return fail_path(errno, name);
  ++directories_;
  return {};
}

/// Names of directories stay in memory until the tree is sealed and moved.
Result<void> StagedTree::charge(const std::string& name) {
  directory_names_ += name.size() + sizeof(DirectoryAttributes) + 64;
  if (directory_names_ <= most_directory_names) return {};
  return fail(Reason::too_large, "the stream holds too many directories; send it in parts");
}

Result<void> StagedTree::make_way(int holder, const std::string& name) {
  const std::string component = last_of(name);
  struct stat status{};
  if (sys::fstatat(holder, component.c_str(), status, AT_SYMLINK_NOFOLLOW) != 0) {
    return fail_path(errno, name);
  }
  const bool directory = S_ISDIR(status.st_mode);
  if (sys::unlinkat(holder, component.c_str(), directory ? AT_REMOVEDIR : 0) != 0) {
    return fail_path(directory && errno == ENOTEMPTY ? EISDIR : errno, name);
  }
  if (directory) {
    --directories_;
    attributes_.erase(name);
    open_directory_.reset();
  } else {
    --files_;
    replaced_ += static_cast<std::uint64_t>(status.st_size);
  }
  return {};
}

Result<void> StagedTree::add_directory(const std::string& name, const DirectoryAttributes& attributes) {
  const auto holder = holder_of(name);
  if (!holder) return std::unexpected(holder.error());
  auto made = make_directory(*holder, name);
  if (!made && made.error().number == EEXIST) {
    struct stat status{};
    if (sys::fstatat(*holder, last_of(name).c_str(), status, AT_SYMLINK_NOFOLLOW) != 0) {
      return fail_path(errno, name);
    }
    made = {};
    if (!S_ISDIR(status.st_mode)) {
      made = make_way(*holder, name);
      if (made) made = make_directory(*holder, name);
    }
  }
  if (made) attributes_[name] = attributes;
  return made;
}

Result<UniqueFd> StagedTree::add_file(const std::string& name, mode_t mode) {
  const auto holder = holder_of(name);
  if (!holder) return std::unexpected(holder.error());
  constexpr int flags = O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW;
  auto file = open_beneath(*holder, last_of(name), flags, mode);
  if (!file && file.error().number == EEXIST) {
    if (auto free = make_way(*holder, name); !free) return std::unexpected(std::move(free.error()));
    file = open_beneath(*holder, last_of(name), flags, mode);
  }
  if (!file) return fail_path(file.error().number, name);
  ++files_;
  return file;
}

// --- finishing ------------------------------------------------------------------------------------
Result<void> StagedTree::seal(Flush flush) {
  open_directory_.reset();
  // What is within before what holds it: a mode may forbid to enter.
  for (const auto& [name, attributes] : attributes_ | std::views::reverse) {
    const auto directory = open_in(top_.get(), name);
    if (!directory) return std::unexpected(directory.error());
    const timespec times[2] = {{0, UTIME_OMIT}, attributes.mtime};
    if (sys::fchmod(directory->get(), attributes.mode | owner_bits) != 0 ||
        sys::futimens(directory->get(), times) != 0) {
      return fail_errno(errno, fmt::format("set the mode and the time of \"{}\"", name));
    }
  }
  // One flush of the file system in place of one for each file and directory.
  if (flush == Flush::yes && sys::syncfs(top_.get()) != 0) return fail_errno(errno, "flush the upload");
  return {};
}

bool StagedTree::has_late_modes() const {
  return std::ranges::any_of(attributes_, [](const auto& entry) { return is_late(entry.second.mode); });
}

Result<void> StagedTree::set_late_modes(int top) {
  for (const auto& [name, attributes] : attributes_ | std::views::reverse) {
    if (!is_late(attributes.mode)) continue;
    const auto directory = open_in(top, name);
    if (!directory) return std::unexpected(directory.error());
    if (sys::fchmod(directory->get(), attributes.mode) != 0) {
      return fail_errno(errno, fmt::format("set the mode of \"{}\"", name));
    }
  }
  return {};
}

}  // namespace ftpd
