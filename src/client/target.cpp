// Where the bytes of `get` go: a file that appears when it is complete, or a stream.
#include "client/target.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>

#include "base/sys.h"
#include "client/report.h"
#include "client/text.h"
#include "ftpd/limits.h"

namespace ftpd::client {
namespace {

constexpr std::uint64_t beneath = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
constexpr std::uint64_t directory_flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC;

timespec to_timespec(double seconds) {
  constexpr double largest = 253402300799.0;  // the year 9999
  const double whole = std::floor(std::clamp(seconds, -largest, largest));
  const double rest = std::clamp((seconds - whole) * 1e9, 0.0, 999'999'999.0);
  return {static_cast<time_t>(whole), static_cast<long>(rest)};
}

/// A name that no one else has: ours while we live, and the number tells our own apart.
std::string temporary_name() {
  static unsigned number = 0;
  return fmt::format(".ftpc-{}-{}", ::getpid(), ++number);
}

/// Without a name where the file system can do that, so that nothing stays behind whatever ends us.
class FileTarget final : public Target {
 public:
  FileTarget(Directory directory, std::string name)
      : directory_(std::move(directory)), name_(std::move(name)) {}
  ~FileTarget() override {
    if (!temporary_.empty()) sys::unlinkat(directory_->get(), temporary_.c_str(), 0);
  }
  FileTarget(const FileTarget&) = delete;
  FileTarget& operator=(const FileTarget&) = delete;

  Outcome<void> open() {
    const open_how unnamed{.flags = O_TMPFILE | O_WRONLY | O_CLOEXEC, .mode = 0600, .resolve = beneath};
    file_.reset(sys::openat2(directory_->get(), ".", unnamed));
    if (file_) return {};
    if (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL) return system_failure(errno, name_);
    const std::string temporary = temporary_name();
    const open_how named{.flags = O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, .mode = 0600, .resolve = beneath};
    file_.reset(sys::openat2(directory_->get(), temporary.c_str(), named));
    if (!file_) return system_failure(errno, name_);
    temporary_ = temporary;
    return {};
  }

  Outcome<void> write(std::string_view bytes) override { return write_all(file_.get(), bytes, name_); }

  Outcome<void> commit(std::optional<std::uint64_t> mode, std::optional<double> mtime) override {
    if (sys::fchmod(file_.get(), static_cast<mode_t>(mode.value_or(0644) & 0777U)) != 0) {
      return system_failure(errno, name_);
    }
    if (mtime) {
      const timespec time = to_timespec(*mtime);
      const timespec times[2] = {time, time};
      if (sys::futimens(file_.get(), times) != 0) return system_failure(errno, name_);
    }
    if (temporary_.empty()) {
      if (auto linked = link(); !linked) return linked;
      if (temporary_.empty()) return {};
    }
    if (sys::renameat2(directory_->get(), temporary_.c_str(), directory_->get(), name_.c_str(), 0) != 0) {
      return system_failure(errno, name_);
    }
    temporary_.clear();
    return {};
  }

 private:
  /// The final name where it is free, else a temporary one.
  Outcome<void> link() {
    const std::string self = fmt::format("/proc/self/fd/{}", file_.get());
    const auto try_name = [&](const std::string& name) {
      return sys::linkat(AT_FDCWD, self.c_str(), directory_->get(), name.c_str(), AT_SYMLINK_FOLLOW) == 0;
    };
    if (try_name(name_)) return {};
    if (errno != EEXIST) return system_failure(errno, name_);
    const std::string temporary = temporary_name();
    if (!try_name(temporary)) return system_failure(errno, name_);
    temporary_ = temporary;
    return {};
  }

  Directory directory_;
  std::string name_;
  std::string temporary_;  // exists in the directory, if not empty
  UniqueFd file_;
};

class StreamTarget final : public Target {
 public:
  StreamTarget(UniqueFd fd, std::string what) : fd_(std::move(fd)), what_(std::move(what)) {}
  Outcome<void> write(std::string_view bytes) override { return write_all(fd_.get(), bytes, what_); }
  Outcome<void> commit(std::optional<std::uint64_t>, std::optional<double>) override { return {}; }

 private:
  UniqueFd fd_;
  std::string what_;
};

}  // namespace

Outcome<Directory> open_directory(const std::string& path) {
  UniqueFd fd{sys::openat2(AT_FDCWD, path.c_str(), {.flags = directory_flags, .mode = 0, .resolve = 0})};
  if (!fd) return system_failure(errno, path);
  return std::make_shared<const UniqueFd>(std::move(fd));
}

Outcome<std::unique_ptr<Target>> make_file(Directory directory, std::string name) {
  auto file = std::make_unique<FileTarget>(std::move(directory), std::move(name));
  if (auto opened = file->open(); !opened) return std::unexpected(opened.error());
  return file;
}

std::unique_ptr<Target> make_stream(UniqueFd fd, std::string what) {
  return std::make_unique<StreamTarget>(std::move(fd), std::move(what));
}

bool is_safe_name(std::string_view name) {
  if (name.size() > limits::max_path || name.find('\0') != std::string_view::npos) return false;
  for (;;) {
    const std::size_t slash = name.find('/');
    const std::string_view component = name.substr(0, slash);
    if (component.empty() || component == "." || component == ".." ||
        component.size() > limits::max_component) {
      return false;
    }
    if (slash == std::string_view::npos) return true;
    name.remove_prefix(slash + 1);
  }
}

Outcome<std::unique_ptr<Target>> TargetTree::file(const std::string& name) {
  if (!is_safe_name(name)) return local_failure("refused: the server names a path that leads elsewhere");
  const std::size_t slash = name.rfind('/');
  auto parent = slash == std::string::npos ? Outcome<Directory>{root_} : enter(name.substr(0, slash));
  if (!parent) return std::unexpected(parent.error());
  return make_file(std::move(*parent), name.substr(slash + 1));
}

Outcome<void> TargetTree::directory(const std::string& name) {
  if (!is_safe_name(name)) return local_failure("refused: the server names a path that leads elsewhere");
  const auto entered = enter(name);
  if (!entered) return std::unexpected(entered.error());
  return {};
}

/// The directory `name` below the root, made where it is missing.
Outcome<Directory> TargetTree::enter(const std::string& name) {
  if (last_ && name == last_name_) return last_;
  Directory at = root_;
  for (std::size_t begin = 0; begin < name.size();) {
    const std::size_t end = std::min(name.find('/', begin), name.size());
    const std::string component = name.substr(begin, end - begin);
    if (sys::mkdirat(at->get(), component.c_str(), 0777) != 0 && errno != EEXIST) {
      return system_failure(errno, name);
    }
    UniqueFd next{sys::openat2(at->get(), component.c_str(),
                               {.flags = directory_flags | O_NOFOLLOW, .mode = 0, .resolve = beneath})};
    if (!next) return system_failure(errno, name);
    at = std::make_shared<const UniqueFd>(std::move(next));
    begin = end + 1;
  }
  last_name_ = name;
  last_ = at;
  return at;
}

}  // namespace ftpd::client
