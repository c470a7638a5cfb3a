// Which files `put` sends, and under which names.
#include "client/local_files.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <system_error>

#include "base/sys.h"

namespace ftpd::client {
namespace {

namespace fs = std::filesystem;

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

bool is_local_directory(const std::string& local) {
  std::error_code error;
  return fs::is_directory(local, error);
}

Outcome<OpenFile> open_local(const std::string& local) {
  OpenFile out;
  if (local == "-") {
    out.fd.reset(sys::fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3));
    if (!out.fd) return system_failure(errno, "standard input");
    return out;
  }
  out.fd.reset(
      sys::openat2(AT_FDCWD, local.c_str(), {.flags = O_RDONLY | O_CLOEXEC, .mode = 0, .resolve = 0}));
  if (!out.fd || sys::fstat(out.fd.get(), out.about) != 0) {
    return local_failure(std::error_code{errno, std::system_category()}.message());
  }
  const struct stat& about = out.about;
  if (S_ISDIR(about.st_mode)) return local_failure("a directory; -r sends it with all that is in it");
  if (!S_ISREG(about.st_mode)) return out;
  out.size = static_cast<std::uint64_t>(about.st_size);
  out.mode = about.st_mode & 0777U;
  out.mtime = static_cast<double>(about.st_mtim.tv_sec) + static_cast<double>(about.st_mtim.tv_nsec) * 1e-9;
  return out;
}

std::uint64_t total_size(const Options& options) {
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
