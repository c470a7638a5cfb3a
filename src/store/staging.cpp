// Staging directories: made, locked, cleaned; staged files: made, published, discarded.
#include "store/staging.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <cerrno>
#include <string_view>

#include "base/sys.h"
#include "store/home.h"
#include "store/listing.h"
#include "store/names.h"
#include "store/resolve.h"

namespace ftpd {
namespace {

constexpr std::string_view prefix = "staging-";
constexpr int attempts = 8;

/// Not a secret: the directory is ours alone, and a name that is taken is tried again.
Result<std::string> random_name() {
  std::uint64_t bits = 0;
  if (sys::getrandom(&bits, sizeof bits, 0) != sizeof bits) return fail_errno(errno, "ask for random bytes");
  return fmt::format("{}{:016x}", prefix, bits);
}

}  // namespace

// --- the directory --------------------------------------------------------------------------------
StagingDirectory::StagingDirectory(UniqueFd home, UniqueFd directory, std::string name)
    : home_(std::move(home)), directory_(std::move(directory)), name_(std::move(name)) {}

StagingDirectory::~StagingDirectory() {
  static_cast<void>(sys::unlinkat(home_.get(), name_.c_str(), AT_REMOVEDIR));
}

Result<std::shared_ptr<StagingDirectory>> StagingDirectory::make(int root) {
  for (int attempt = 1; attempt <= attempts; ++attempt) {
    auto home = open_or_make_home(root);
    if (!home) return std::unexpected(std::move(home.error()));
    auto random = random_name();
    if (!random) return std::unexpected(std::move(random.error()));
    std::string name = std::move(*random);
    if (sys::mkdirat(home->get(), name.c_str(), 0700) != 0) {
      if (errno == EEXIST || errno == ENOENT) continue;
      return fail_errno(errno, "can't make a directory for uploads in \".ftpd\"");
    }
    auto directory = open_beneath(home->get(), name, home_directory_flags);
    // Between making and locking it, another daemon may have taken it for a dead one's. Where the file
    // system knows no locks nobody can take one, so nobody removes anything.
    if (directory && try_lock(directory->get()) != Lock::held &&
        is_linked(home->get(), name, directory->get())) {
      return std::shared_ptr<StagingDirectory>(
          new StagingDirectory(std::move(*home), std::move(*directory), std::move(name)));
    }
    static_cast<void>(sys::unlinkat(home->get(), name.c_str(), AT_REMOVEDIR));
    if (!directory && directory.error().number != ENOENT)
      return std::unexpected(std::move(directory.error()));
  }
  return fail(Reason::busy, "can't make a directory for uploads: others keep removing it");
}

// --- a file ---------------------------------------------------------------------------------------
StagedFile::StagedFile(std::shared_ptr<StagingDirectory> directory, std::string name, UniqueFd file)
    : directory_(std::move(directory)), name_(std::move(name)), file_(std::move(file)) {}

StagedFile& StagedFile::operator=(StagedFile&& other) noexcept {
  if (this != &other) {
    discard();
    directory_ = std::move(other.directory_);
    name_ = std::move(other.name_);
    file_ = std::move(other.file_);
  }
  return *this;
}

void StagedFile::discard() {
  if (directory_ != nullptr) static_cast<void>(sys::unlinkat(directory_->fd(), name_.c_str(), 0));
  directory_.reset();
}

Result<StagedFile> StagedFile::make(std::shared_ptr<StagingDirectory> directory) {
  std::string name = fmt::format("{:x}", directory->next_number());
  auto file = open_beneath(directory->fd(), name, O_CREAT | O_EXCL | O_RDWR | O_NOFOLLOW, 0600);
  if (!file) return std::unexpected(std::move(file.error()));
  return StagedFile(std::move(directory), std::move(name), std::move(*file));
}

int StagedFile::publish(int directory, const char* name, Taken taken) {
  const int number = move_file({directory_->fd(), name_.c_str()}, {directory, name}, taken);
  if (number == 0) directory_.reset();
  return number;
}

int move_file(NameIn from, NameIn to, Taken taken) {
  const unsigned flags = taken == Taken::refuse ? RENAME_NOREPLACE : 0;
  if (sys::renameat2(from.directory, from.name, to.directory, to.name, flags) == 0) return 0;
  // Some file systems can't refuse a name that is taken when they rename, but all that link can.
  if (errno != EINVAL || taken != Taken::refuse) return errno;
  if (sys::linkat(from.directory, from.name, to.directory, to.name, 0) != 0) return errno;
  static_cast<void>(sys::unlinkat(from.directory, from.name, 0));
  return 0;
}

// --- a store's staging ----------------------------------------------------------------------------
Result<std::shared_ptr<StagingDirectory>> Staging::directory() {
  const std::lock_guard lock(mutex_);
  if (directory_ == nullptr) {
    auto made = StagingDirectory::make(root_);
    if (!made) return std::unexpected(std::move(made.error()));
    directory_ = std::move(*made);
  }
  return directory_;
}

void Staging::forget(const std::shared_ptr<StagingDirectory>& directory) {
  const std::lock_guard lock(mutex_);
  if (directory_ == directory) directory_.reset();
}

Result<void> Staging::prepare() {
  const auto made = directory();
  if (!made) return std::unexpected(made.error());
  return {};
}

Result<StagedFile> Staging::make_file() {
  for (int attempt = 1;; ++attempt) {
    auto directory = this->directory();
    if (!directory) return std::unexpected(std::move(directory.error()));
    auto file = StagedFile::make(*directory);
    if (file || attempt == attempts) return file;
    // ENOENT: somebody removed the directory under us. EEXIST: somebody's file in our directory.
    if (file.error().number == ENOENT) {
      forget(*directory);
    } else if (file.error().number != EEXIST) {
      Error error = std::move(file.error());
      return fail_errno(error.number, "can't make a file for the upload in \".ftpd\"");
    }
  }
}

void Staging::remove_dead() const {
  const auto home = open_home(root_);
  if (!home) return;
  DirectoryReader reader(home->get());
  for (;;) {
    const auto next = reader.next();
    if (!next || !*next) return;
    if (!(*next)->starts_with(prefix)) continue;
    const std::string name{**next};
    const auto directory = open_beneath(home->get(), name, home_directory_flags);
    if (directory && try_lock(directory->get()) == Lock::taken) {
      static_cast<void>(remove_tree(home->get(), name));  // next time, then
    }
  }
}

}  // namespace ftpd
