// Resolving, making, checking and flushing the directory of an upload.
#include "store/destination.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <ranges>
#include <utility>

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

/// The directory of that path; all there is where it can't be opened, as one that was renamed meanwhile.
Result<void> flush_beneath(int root, const std::string& path) {
  const auto directory = open_beneath(root, path, directory_flags(Flush::yes));
  if (directory) return flush_directory(directory->get());
  if (sys::syncfs(root) != 0) return fail_errno(errno, "flush file system");
  return {};
}

/// Directories that were made for durable uploads and are not flushed yet. What another upload stores in one
/// meanwhile is safe only once that is: while there are any, each flush goes up to its root.
std::atomic<std::size_t> unflushed{0};

}  // namespace

Result<Destination> Destination::open(int root, const RelPath& path, Flush flush) {
  const RelPath parent = path.parent();
  if (parent.is_root()) return Destination(root, ".", flush);
  auto directory = open_beneath(root, parent.text(), directory_flags(flush));
  if (!directory) return std::unexpected(std::move(directory.error()));
  Destination destination(root, parent.text(), flush);
  destination.directory_ = std::move(*directory);
  return destination;
}

Result<Destination> Destination::open_or_make(int root, const RelPath& path, Flush flush) {
  auto there = open(root, path, flush);
  if (there || there.error().number != ENOENT) return there;
  Destination destination(root, path.parent().text(), flush);
  if (auto made = destination.make(); !made) {
    destination.remove_made();
    return std::unexpected(std::move(made.error()));
  }
  return destination;
}

Result<void> Destination::make() {
  for (std::size_t begin = 0; begin <= path_.size();) {
    const std::size_t end = std::min(path_.find('/', begin), path_.size());
    const std::string component = path_.substr(begin, end - begin);
    made_.push_back(path_.substr(0, end));
    // Counted before anybody can find it.
    if (flush_ == Flush::yes) ++unflushed;
    if (sys::mkdirat(fd(), component.c_str(), 0755) != 0) {
      const int number = errno;
      made_.pop_back();
      if (flush_ == Flush::yes) --unflushed;
      if (number != EEXIST)
        return fail_errno(number, fmt::format("make directory \"{}\"", path_.substr(0, end)));
    }
    auto next = open_beneath(fd(), component, directory_flags(flush_));
    if (!next) return fail_path(next.error().number, path_.substr(0, end));
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
  const bool only_ours = unflushed.load() == made_.size();
  if (only_ours && made_.empty()) return {};
  const std::string outermost = only_ours ? directory_of(made_.front()) : ".";
  for (std::string holder = path_; holder != outermost;) {
    holder = directory_of(holder);
    if (auto flushed = flush_beneath(root_, holder); !flushed) return flushed;
  }
  settle_made();
  return {};
}

void Destination::remove_made() const {
  bool settled = true;
  for (const std::string& made : made_ | std::views::reverse) {
    const std::string path = directory_of(made);
    const auto holder = open_beneath(root_, path, directory_flags(Flush::no));
    const bool removed =
        holder && sys::unlinkat(holder->get(), last_component(made).c_str(), AT_REMOVEDIR) == 0;
    if (!removed && flush_ == Flush::yes && !flush_beneath(root_, path)) settled = false;
  }
  if (settled) settle_made();
}

Destination& Destination::operator=(Destination&& other) noexcept {
  // What was made here is the other's to settle.
  std::swap(root_, other.root_);
  std::swap(flush_, other.flush_);
  std::swap(path_, other.path_);
  std::swap(directory_, other.directory_);
  std::swap(made_, other.made_);
  return *this;
}

/// A flush that failed is tried once more; what fails again is the disk's, and no reason for others to try.
Destination::~Destination() {
  if (made_.empty()) return;
  if (flush_ == Flush::yes) static_cast<void>(flush());
  settle_made();
}

/// Nobody has to flush them any more.
void Destination::settle_made() const {
  if (flush_ == Flush::yes) unflushed -= made_.size();
  made_.clear();
}

}  // namespace ftpd
