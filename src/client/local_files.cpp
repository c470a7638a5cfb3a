// Which files `put` sends, and under which names.
#include "client/local_files.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/sys.h"

namespace ftpd::client {
namespace {

namespace fs = std::filesystem;

Failure failure_of(const std::error_code& error) { return {Failure::Who::local, error.message()}; }

std::string_view without_slashes(std::string_view path) {
  while (path.size() > 1 && path.ends_with('/')) path.remove_suffix(1);
  return path;
}

}  // namespace

std::string_view base_name(std::string_view path) {
  path = without_slashes(path);
  const std::string_view last = path.substr(path.rfind('/') + 1);
  return last == "." || last == ".." ? std::string_view{} : last;
}

std::string joined(std::string_view directory, std::string_view name) {
  if (directory.empty()) return std::string{name};
  if (name.empty()) return std::string{directory};
  std::string out{directory};
  out += '/';
  return out += name;
}

std::string remote_name(const Options& options, std::string_view local) {
  const std::string_view base = base_name(local);
  if (!options.to) return std::string{base};
  const bool directory = options.operands.size() > 1 || options.to->ends_with('/');
  const std::string_view to = without_slashes(*options.to);
  return directory ? joined(to, base) : std::string{to};
}

bool LocalFiles::more() {
  if (!ahead_) ahead_ = search();
  return ahead_.has_value();
}

std::optional<LocalFile> LocalFiles::next() {
  return ahead_ ? std::exchange(ahead_, std::nullopt) : search();
}

std::optional<LocalFile> LocalFiles::search() {
  while (!levels_.empty() || at_ < options_.operands.size()) {
    auto file = levels_.empty() ? next_operand() : next_below();
    if (file) return file;
  }
  return std::nullopt;
}

std::optional<LocalFile> LocalFiles::next_operand() {
  const std::string& local = options_.operands[at_++];
  std::string remote = remote_name(options_, local);
  if (local == "-") return LocalFile{local, std::move(remote)};
  std::error_code error;
  const auto status = fs::status(local, error);
  if (error || !fs::exists(status)) {
    report_.failed(local,
                   failure_of(error ? error : std::make_error_code(std::errc::no_such_file_or_directory)));
    return std::nullopt;
  }
  if (!fs::is_directory(status)) return LocalFile{local, std::move(remote)};
  if (options_.depth == Depth::recursive) {
    enter(local, std::move(remote));
  } else {
    report_.failed(local, {Failure::Who::local, "a directory; -r sends it with all that is in it"});
  }
  return std::nullopt;
}

void LocalFiles::enter(const fs::path& path, std::string remote) {
  std::error_code error;
  Level level{path, std::move(remote), {}};
  for (fs::directory_iterator at{path, error}; !error && at != fs::directory_iterator{};
       at.increment(error)) {
    level.entries.push_back(*at);
  }
  if (error) report_.failed(path.native(), failure_of(error));
  if (!error && level.entries.empty()) report_.note(path.native(), "not sent: the directory is empty");
  std::ranges::sort(level.entries, std::ranges::greater{},
                    [](const auto& entry) { return entry.path().native(); });
  levels_.push_back(std::move(level));
}

std::optional<LocalFile> LocalFiles::next_below() {
  Level& level = levels_.back();
  if (level.entries.empty()) {
    levels_.pop_back();
    return std::nullopt;
  }
  const fs::directory_entry entry = std::move(level.entries.back());
  level.entries.pop_back();
  const fs::path& path = entry.path();
  std::string remote = joined(level.remote, path.filename().native());
  std::error_code error;
  const auto status = entry.symlink_status(error);
  if (error) {
    report_.failed(path.native(), failure_of(error));
  } else if (fs::is_regular_file(status)) {
    return LocalFile{path.native(), std::move(remote), LocalFile::From::walk};
  } else if (fs::is_directory(status)) {
    enter(path, std::move(remote));
  } else {
    report_.note(path.native(),
                 fs::is_symlink(status) ? "not sent: a symbolic link" : "not sent: no regular file");
  }
  return std::nullopt;
}

Outcome<OpenFile> open_local(const LocalFile& file) {
  OpenFile out;
  if (file.local == "-") {
    out.fd.reset(sys::fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3));
    if (!out.fd) return system_failure(errno, "standard input");
    return out;
  }
  const bool walked = file.from == LocalFile::From::walk;
  // What the walk saw as a file may have been replaced since: neither follow nor wait.
  const open_how how{
      .flags = static_cast<std::uint64_t>(O_RDONLY | O_CLOEXEC | (walked ? O_NOFOLLOW | O_NONBLOCK : 0)),
      .mode = 0,
      .resolve = 0};
  out.fd.reset(sys::openat2(AT_FDCWD, file.local.c_str(), how));
  struct stat about{};
  if (!out.fd || sys::fstat(out.fd.get(), about) != 0) {
    return local_failure(std::error_code{errno, std::system_category()}.message());
  }
  if (S_ISREG(about.st_mode)) {
    out.size = static_cast<std::uint64_t>(about.st_size);
    out.mode = about.st_mode & 0777U;
    out.mtime = static_cast<double>(about.st_mtim.tv_sec) + static_cast<double>(about.st_mtim.tv_nsec) * 1e-9;
  } else if (walked || S_ISDIR(about.st_mode)) {
    return local_failure("no regular file any more");
  }
  return out;
}

std::uint64_t total_size(const Options& options) {
  namespace fs = std::filesystem;
  std::uint64_t total = 0;
  const auto add = [&total](const fs::path& path) {
    std::error_code error;
    const auto size = fs::file_size(path, error);
    if (!error) total += size;
  };
  for (const std::string& local : options.operands) {
    std::error_code error;
    if (!fs::is_directory(local, error)) {
      add(local);
    } else if (options.depth == Depth::recursive) {
      const auto skip = fs::directory_options::skip_permission_denied;
      for (fs::recursive_directory_iterator at{local, skip, error}, end; !error && at != end;
           at.increment(error)) {
        if (!at->is_symlink(error) && at->is_regular_file(error)) add(at->path());
      }
    }
  }
  return total;
}

}  // namespace ftpd::client
