// Resolving, making, checking and flushing the directory of an upload.
#include "store/destination.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <ranges>

#include "base/sys.h"
#include "store/resolve.h"

namespace ftpd {
namespace {

constexpr int directory_flags(Flush flush) { return O_DIRECTORY | (flush == Flush::yes ? O_RDONLY : O_PATH); }

std::string directory_of(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  return slash == std::string::npos ? "." : path.substr(0, slash);
}

std::string last_component(const std::string& path) { return path.substr(path.rfind('/') + 1); }

Result<void> flush_directory(int directory) {
  // EINVAL: a file system that has nothing to flush for a directory (fsync(2)).
  if (sys::fsync(directory) != 0 && errno != EINVAL) return fail_errno(errno, "flush directory");
  return {};
}

}  // namespace

Result<Destination> Destination::open(int root, const RelPath& path, Flush flush) {
  Destination destination(root);
  const RelPath parent = path.parent();
  if (parent.is_root()) return destination;
  auto directory = open_beneath(root, parent.text(), directory_flags(flush));
  if (!directory) return std::unexpected(std::move(directory.error()));
  destination.directory_ = std::move(*directory);
  return destination;
}

Result<Destination> Destination::open_or_make(int root, const RelPath& path, Flush flush) {
  auto there = open(root, path, flush);
  if (there || there.error().number != ENOENT) return there;
  Destination destination(root);
  if (auto made = destination.make(path.parent().text(), flush); !made) {
    destination.remove_made();
    return std::unexpected(std::move(made.error()));
  }
  return destination;
}

Result<void> Destination::make(const std::string& path, Flush flush) {
  for (std::size_t begin = 0; begin <= path.size();) {
    const std::size_t end = std::min(path.find('/', begin), path.size());
    const std::string component = path.substr(begin, end - begin);
    if (sys::mkdirat(fd(), component.c_str(), 0755) == 0) {
      made_.push_back(path.substr(0, end));
    } else if (errno != EEXIST) {
      return fail_errno(errno, fmt::format("make directory \"{}\"", path.substr(0, end)));
    }
    auto next = open_beneath(fd(), component, directory_flags(flush));
    if (!next) return fail_path(next.error().number, path.substr(0, end));
    directory_ = std::move(*next);
    begin = end + 1;
  }
  return {};
}

Result<std::uint64_t> Destination::check(const RelPath& path, Taken taken) const {
  struct stat status{};
  const int flags = AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT;
  if (sys::fstatat(fd(), path.name().data(), status, flags) != 0) {
    if (errno == ENOENT) return 0;
    return fail_path(errno, path.text());
  }
  if (auto regular = require_regular(status.st_mode, path.text()); !regular) {
    return std::unexpected(std::move(regular.error()));
  }
  if (taken == Taken::refuse) return fail_path(EEXIST, path.text());
  return status.st_nlink == 1 ? static_cast<std::uint64_t>(status.st_size) : 0;
}

Result<void> Destination::flush() const {
  if (auto flushed = flush_directory(fd()); !flushed) return flushed;
  for (const std::string& made : made_ | std::views::reverse) {
    const auto holder = open_beneath(root_, directory_of(made), directory_flags(Flush::yes));
    if (!holder) return std::unexpected(holder.error());
    if (auto flushed = flush_directory(holder->get()); !flushed) return flushed;
  }
  return {};
}

void Destination::remove_made() const {
  for (const std::string& made : made_ | std::views::reverse) {
    const auto holder = open_beneath(root_, directory_of(made), directory_flags(Flush::no));
    if (!holder) return;
    static_cast<void>(sys::unlinkat(holder->get(), last_component(made).c_str(), AT_REMOVEDIR));
  }
}

}  // namespace ftpd
