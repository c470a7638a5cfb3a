// What has arrived of a `get --resume`.
#include "client/part_file.h"

#include <fcntl.h>
#include <sys/file.h>

#include <cerrno>
#include <filesystem>
#include <memory>

#include "base/sys.h"
#include "client/local_files.h"
#include "client/report.h"
#include "ftpd/limits.h"

namespace ftpd::client {
namespace {

constexpr std::string_view part_suffix = ".ftpc-part";
constexpr std::size_t piece_size = 256U * 1024;

}  // namespace

std::string part_name(std::string_view name) {
  const bool fits = 1 + name.size() + part_suffix.size() <= limits::max_component;
  std::string out = ".";
  out += fits ? std::string{name} : sha256_hex(name).substr(0, 32);
  return out += part_suffix;
}

Outcome<PartFile> PartFile::open(const std::string& local) {
  namespace fs = std::filesystem;
  std::error_code error;
  const auto status = fs::status(local, error);
  fs::path path = local;
  if (fs::exists(status)) {
    if (!fs::is_regular_file(status)) return local_failure(local + ": no regular file; --resume needs one");
    // A link of the user's own stays: what it names is replaced.
    path = fs::canonical(path, error);
  }
  if (!path.has_filename()) return local_failure(local + ": no such directory");
  auto directory = open_directory(path.has_parent_path() ? path.parent_path().native() : ".");
  if (!directory) return std::unexpected(directory.error());
  PartFile part{std::move(*directory), path.filename().native()};
  const open_how how{.flags = O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK,
                     .mode = 0600,
                     .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS};
  UniqueFd file{sys::openat2(part.directory_->get(), part.part_.c_str(), how)};
  struct stat about{};
  if (!file || sys::fstat(file.get(), about) != 0) return system_failure(errno, part.part_);
  if (!S_ISREG(about.st_mode)) return local_failure(part.part_ + ": no regular file");
  if (sys::flock(file.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno == EWOULDBLOCK) return local_failure(part.part_ + ": another ftpc is at it");
    return system_failure(errno, part.part_);
  }
  part.file_ = std::move(file);
  if (auto hashed = part.hash_what_is_there(); !hashed) return std::unexpected(hashed.error());
  return part;
}

PartFile::~PartFile() {
  if (file_ && size_ == 0) sys::unlinkat(directory_->get(), part_.c_str(), 0);
}

Outcome<void> PartFile::hash_what_is_there() {
  const auto piece = std::make_unique<char[]>(piece_size);
  for (;;) {
    const ssize_t count = sys::read(file_.get(), piece.get(), piece_size);
    if (count < 0) return system_failure(errno, part_);
    if (count == 0) return {};
    hash_.update({piece.get(), static_cast<std::size_t>(count)});
    size_ += static_cast<std::uint64_t>(count);
  }
}

Outcome<void> PartFile::append(std::string_view bytes) {
  if (auto written = write_all(file_.get(), bytes, part_); !written) return written;
  hash_.update(bytes);
  size_ += bytes.size();
  return {};
}

Outcome<void> PartFile::start_anew() {
  if (sys::ftruncate(file_.get(), 0) != 0) return system_failure(errno, part_);
  hash_ = Sha256{};
  size_ = 0;
  return {};
}

Outcome<void> PartFile::commit(const Attributes& attributes) {
  if (sys::fchmod(file_.get(), attributes.mode.value_or(0644) & 0777U) != 0) {
    return system_failure(errno, name_);
  }
  if (attributes.mtime) {
    const timespec times[2] = {*attributes.mtime, *attributes.mtime};
    if (sys::futimens(file_.get(), times) != 0) return system_failure(errno, name_);
  }
  if (sys::renameat2(directory_->get(), part_.c_str(), directory_->get(), name_.c_str(), 0) != 0) {
    return system_failure(errno, name_);
  }
  file_.reset();
  return {};
}

}  // namespace ftpd::client
