// Where the bytes of `get` go: a file that appears when it is complete, or a stream.
#include "client/target.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdio>
#include <filesystem>

#include "base/sys.h"
#include "client/local_files.h"
#include "client/report.h"
#include "client/text.h"
#include "ftpd/limits.h"

namespace ftpd::client {
namespace {

constexpr std::uint64_t beneath = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
constexpr std::uint64_t directory_flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC;

// What a server may make us remember of its directories.
constexpr std::size_t most_remembered = 256U << 20U;

constexpr unsigned usual_file_mode = 0644;

/// A name that no one else has: ours while we live, and the number tells our own apart.
std::string temporary_name() {
  static unsigned number = 0;
  return fmt::format(".ftpc-{}-{}", ::getpid(), ++number);
}

/// `fd` is a file or a directory.
Outcome<void> set_attributes(int fd, const Attributes& attributes, const std::string& name) {
  if (attributes.mode && sys::fchmod(fd, *attributes.mode & 0777U) != 0) return system_failure(errno, name);
  if (!attributes.mtime) return {};
  const timespec times[2] = {*attributes.mtime, *attributes.mtime};
  if (sys::futimens(fd, times) != 0) return system_failure(errno, name);
  return {};
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

  Outcome<void> commit(const Attributes& attributes) override {
    const Attributes all{attributes.mode.value_or(usual_file_mode), attributes.mtime};
    if (auto set = set_attributes(file_.get(), all, name_); !set) return set;
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

/// In a directory that nobody else looks at: under its name from the start.
class FreshFile final : public Target {
 public:
  FreshFile(UniqueFd file, std::string name) : file_(std::move(file)), name_(std::move(name)) {}
  Outcome<void> write(std::string_view bytes) override { return write_all(file_.get(), bytes, name_); }
  Outcome<void> commit(const Attributes& attributes) override {
    return set_attributes(file_.get(), {attributes.mode.value_or(usual_file_mode), attributes.mtime}, name_);
  }

 private:
  UniqueFd file_;
  std::string name_;
};

Outcome<std::unique_ptr<Target>> make_fresh_file(const Directory& directory, std::string name) {
  UniqueFd file{sys::openat2(
      directory->get(), name.c_str(),
      {.flags = O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC | O_NOFOLLOW, .mode = 0600, .resolve = beneath})};
  if (!file) return system_failure(errno, name);
  return std::make_unique<FreshFile>(std::move(file), std::move(name));
}

std::unexpected<Failure> leads_elsewhere(const std::string& name) {
  return local_failure("refused: the server names a path that leads elsewhere: " + printable(name));
}

class StreamTarget final : public Target {
 public:
  StreamTarget(UniqueFd fd, std::string what) : fd_(std::move(fd)), what_(std::move(what)) {}
  Outcome<void> write(std::string_view bytes) override { return write_all(fd_.get(), bytes, what_); }
  Outcome<void> commit(const Attributes&) override { return {}; }

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

timespec to_timespec(double seconds) {
  constexpr double largest = 253402300799.0;  // the year 9999
  const double whole = std::floor(std::clamp(seconds, -largest, largest));
  const double rest = std::clamp((seconds - whole) * 1e9, 0.0, 999'999'999.0);
  return {static_cast<time_t>(whole), static_cast<long>(rest)};
}

Outcome<std::unique_ptr<Target>> open_target(const std::string& local) {
  namespace fs = std::filesystem;
  if (local == "-") {
    UniqueFd fd{sys::fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3)};
    if (!fd) return system_failure(errno, "standard output");
    return make_stream(std::move(fd), "standard output");
  }
  std::error_code error;
  fs::path path = local;
  const auto status = fs::status(path, error);
  if (fs::exists(status) && !fs::is_regular_file(status) && !fs::is_directory(status)) {
    UniqueFd fd{sys::openat2(AT_FDCWD, path.c_str(),
                             {.flags = O_WRONLY | O_CLOEXEC | O_NOCTTY, .mode = 0, .resolve = 0})};
    if (!fd) return system_failure(errno, local);
    return make_stream(std::move(fd), local);
  }
  // A link of the user's own stays: what it names is replaced.
  error.clear();
  if (fs::exists(status)) path = fs::canonical(path, error);
  if (error) return local_failure(local + ": " + error.message());
  auto directory = open_directory(path.has_parent_path() ? path.parent_path().native() : ".");
  if (!directory) return std::unexpected(directory.error());
  if (!path.has_filename()) return local_failure(local + ": no such directory");
  return make_file(std::move(*directory), path.filename().native());
}

Outcome<std::unique_ptr<Target>> TargetTree::file(const std::string& name) {
  if (!is_safe_name(name)) return leads_elsewhere(name);
  const std::size_t slash = name.rfind('/');
  auto parent = slash == std::string::npos ? Outcome<Directory>{root_} : enter(name.substr(0, slash));
  if (!parent) return std::unexpected(parent.error());
  std::string last = name.substr(slash + 1);
  if (ground_ == Ground::fresh) return make_fresh_file(*parent, std::move(last));
  return make_file(std::move(*parent), std::move(last));
}

Outcome<void> TargetTree::directory(const std::string& name, const Attributes& attributes) {
  if (!name.empty()) {
    if (!is_safe_name(name)) return leads_elsewhere(name);
    if (const auto entered = enter(name); !entered) return std::unexpected(entered.error());
  }
  remembered_ += name.size() + sizeof(Made);
  if (remembered_ > most_remembered) return local_failure("more directories than can be remembered");
  directories_.push_back({name, attributes});
  return {};
}

Outcome<void> TargetTree::finish() {
  // What is below comes first: a directory that may not be written is closed behind it.
  for (; !directories_.empty(); directories_.pop_back()) {
    const Made& made = directories_.back();
    const std::string& name = made.name.empty() ? std::string{"."} : made.name;
    const UniqueFd fd{sys::openat2(root_->get(), name.c_str(),
                                   {.flags = directory_flags | O_NOFOLLOW, .mode = 0, .resolve = beneath})};
    if (!fd) return system_failure(errno, made.name);
    if (auto set = set_attributes(fd.get(), made.attributes, made.name); !set) return set;
  }
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

Outcome<FreshDirectory> FreshDirectory::make(const std::string& path) {
  const std::string_view name = base_name(path);
  if (name.empty()) return local_failure(path + ": it has no name of its own");
  const std::filesystem::path parent = std::filesystem::path{path}.parent_path();
  auto open_parent = open_directory(parent.empty() ? "." : parent.native());
  if (!open_parent) return std::unexpected(open_parent.error());
  FreshDirectory made{std::move(*open_parent), std::string{name}};
  int result = -1;
  do {
    made.temporary_ = temporary_name();
    result = sys::mkdirat(made.parent_->get(), made.temporary_.c_str(), 0777);
  } while (result != 0 && errno == EEXIST);
  if (result != 0) {
    const int number = errno;
    made.parent_.reset();
    return system_failure(number, path);
  }
  UniqueFd fd{sys::openat2(made.parent_->get(), made.temporary_.c_str(),
                           {.flags = directory_flags | O_NOFOLLOW, .mode = 0, .resolve = beneath})};
  if (!fd) return system_failure(errno, path);
  made.open_ = std::make_shared<const UniqueFd>(std::move(fd));
  return made;
}

FreshDirectory::~FreshDirectory() {
  if (!parent_) return;
  std::error_code ignored;
  std::filesystem::remove_all(fmt::format("/proc/self/fd/{}/{}", parent_->get(), temporary_), ignored);
}

Outcome<void> FreshDirectory::commit() {
  const auto rename = [this](unsigned flags) {
    return sys::renameat2(parent_->get(), temporary_.c_str(), parent_->get(), name_.c_str(), flags) == 0;
  };
  // Where the file system does not know the flag, only an empty directory could be in the way.
  if (!rename(RENAME_NOREPLACE) && (errno != EINVAL || !rename(0))) return system_failure(errno, name_);
  parent_.reset();
  return {};
}

}  // namespace ftpd::client
