#include "store/held.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include <cerrno>

#include "base/sys.h"
#include "store/digest.h"
#include "store/home.h"
#include "store/listing.h"
#include "store/names.h"
#include "store/resolve.h"

namespace ftpd {
namespace {

constexpr std::size_t name_size = 32;
constexpr int attempts = 8;
constexpr int file_flags = O_NOFOLLOW | O_NONBLOCK | O_NOCTTY;

/// Any bytes as a name: long enough that nobody finds two that collide.
std::string hashed(std::string_view bytes) {
  Hasher hasher{DigestKinds(DigestKind::sha256)};
  hasher.update(bytes);
  return hasher.digests().of(DigestKind::sha256)->substr(0, name_size);
}

/// A name can't hold a NUL, so no two keys have the same text.
std::string directory_name_of(const UploadKey& key) {
  return std::string(held_prefix) + hashed(key.owner + '\0' + key.name);
}

bool is_hashed(std::string_view name) {
  return name.size() == name_size && name.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

std::uint64_t size_of(const struct stat& status) { return static_cast<std::uint64_t>(status.st_size); }

std::unexpected<Error> other_offset(std::uint64_t offset, std::uint64_t held) {
  Error error =
      Error::of(Reason::offset, fmt::format("offset {} was given, but {} bytes are held", offset, held));
  error.offset = held;
  return std::unexpected(std::move(error));
}

}  // namespace

// --- taking it ------------------------------------------------------------------------------------
Result<HeldFile> HeldFile::take(int root, const Wanted& wanted) {
  for (int attempt = 1; attempt <= attempts; ++attempt) {
    auto locked = lock(root, wanted);
    if (!locked) return std::unexpected(std::move(locked.error()));
    if (!*locked) continue;
    HeldFile held = std::move(**locked);
    if (auto opened = held.open_file(wanted); !opened) return std::unexpected(std::move(opened.error()));
    return held;
  }
  return fail(Reason::busy, "can't make a directory for an upload: others keep removing it");
}

/// Nothing where the directory was removed before it could be locked.
Result<std::optional<HeldFile>> HeldFile::lock(int root, const Wanted& wanted) {
  auto home = open_or_make_home(root);
  if (!home) return std::unexpected(std::move(home.error()));
  std::string name = directory_name_of(wanted.key);
  if (wanted.offset.value_or(0) == 0 && sys::mkdirat(home->get(), name.c_str(), 0700) != 0) {
    if (errno == ENOENT) return std::nullopt;
    if (errno != EEXIST) return fail_errno(errno, "can't make a directory for an upload in \".ftpd\"");
  }
  auto directory = open_beneath(home->get(), name, home_directory_flags);
  if (!directory) {
    if (directory.error().number != ENOENT) {
      return fail_errno(directory.error().number, "open the directory of an upload");
    }
    if (wanted.offset.value_or(0) != 0) return other_offset(*wanted.offset, 0);
    return std::nullopt;
  }
  const Lock lock = try_lock(directory->get());
  if (lock == Lock::held) {
    return fail(Reason::busy,
                fmt::format("upload \"{}\" is under way in another connection", wanted.key.name));
  }
  if (lock == Lock::impossible) return fail_errno(errno, "lock the directory of an upload");
  if (!is_linked(home->get(), name, directory->get())) return std::nullopt;
  return HeldFile(std::move(*home), std::move(*directory), std::move(name));
}

Result<void> HeldFile::open_file(const Wanted& wanted) {
  if (auto alone = refuse_others(wanted); !alone) return alone;
  name_ = hashed(wanted.path.text());
  auto file = open_beneath(directory_.get(), name_, O_RDWR | file_flags);
  if (!file && file.error().number == EACCES) {
    // Killed between the seal, which gave it a mode without our own rights, and the rename. It is ours.
    if (sys::fchmodat(directory_.get(), name_.c_str(), 0600) != 0)
      return fail_errno(errno, "open what is held");
    file = open_beneath(directory_.get(), name_, O_RDWR | file_flags);
  }
  if (file) {
    struct stat status{};
    if (sys::fstat(file->get(), status) != 0) return fail_errno(errno, "ask what is held");
    if (!S_ISREG(status.st_mode)) return fail(Reason::denied, "what is held in \".ftpd\" is no file");
    file_ = std::move(*file);
    size_ = size_of(status);
  } else if (file.error().number != ENOENT) {
    return fail_errno(file.error().number, "open what is held");
  }
  if (file_ && wanted.offset) return resume(wanted);
  if (wanted.offset.value_or(0) != 0) return other_offset(*wanted.offset, 0);
  return begin_anew();
}

/// A key belongs to one filename as long as anything is held under it.
Result<void> HeldFile::refuse_others(const Wanted& wanted) const {
  const std::string ours = hashed(wanted.path.text());
  DirectoryReader reader(directory_.get());
  for (;;) {
    const auto name = reader.next();
    if (!name) return std::unexpected(name.error());
    if (!*name) return {};
    if (**name == ours) continue;
    struct stat status{};
    if (sys::fstatat(directory_.get(), (*name)->data(), status, AT_SYMLINK_NOFOLLOW) != 0) {
      return fail_errno(errno, "ask what is held");
    }
    if (S_ISREG(status.st_mode) && status.st_size > 0) {
      return fail(
          Reason::invalid,
          fmt::format("upload \"{}\" was begun for another filename than \"{}\"; finish it, call it off, or "
                      "choose another name for the upload",
                      wanted.key.name, wanted.path.text()));
    }
    static_cast<void>(sys::unlinkat(directory_.get(), (*name)->data(), 0));  // of no use to anybody
  }
}

Result<void> HeldFile::resume(const Wanted& wanted) {
  if (*wanted.offset != size_) return other_offset(*wanted.offset, size_);
  if (sys::lseek(file_.get(), 0, SEEK_END) < 0) return fail_errno(errno, "go on behind what is held");
  return {};
}

/// A new file, not the old one cut to nothing: who reads what was held goes on reading it.
Result<void> HeldFile::begin_anew() {
  if (sys::unlinkat(directory_.get(), name_.c_str(), 0) != 0 && errno != ENOENT) {
    return fail_errno(errno, "throw away what was held");
  }
  thrown_away_ = std::exchange(size_, 0);
  auto file = open_beneath(directory_.get(), name_, O_CREAT | O_EXCL | O_RDWR | file_flags, 0600);
  if (!file) {
    file_.reset();
    return fail_errno(file.error().number, "can't make a file for the upload in \".ftpd\"");
  }
  file_ = std::move(*file);
  return {};
}

// --- and letting it go ----------------------------------------------------------------------------
HeldFile::~HeldFile() {
  static_cast<void>(keep());
  unlock();
}

int HeldFile::publish(int directory, const char* name, Taken taken) {
  const int number = move_file({directory_.get(), name_.c_str()}, {directory, name}, taken);
  if (number == 0) name_.clear();
  return number;
}

void HeldFile::drop() {
  if (!name_.empty()) static_cast<void>(sys::unlinkat(directory_.get(), name_.c_str(), 0));
  name_.clear();
}

std::uint64_t HeldFile::keep() {
  if (name_.empty() || !file_) return 0;
  struct stat status{};
  const bool known = sys::fstat(file_.get(), status) == 0;
  if (known && status.st_size == 0) {
    drop();
    return 0;
  }
  // A commit that failed may have given it a mode and a time that are none for a file that is held; and
  // the room that was reserved behind what arrived is given back.
  static_cast<void>(sys::fchmod(file_.get(), 0600));
  const timespec times[2] = {{0, UTIME_OMIT}, {0, UTIME_NOW}};
  static_cast<void>(sys::futimens(file_.get(), times));
  if (known) static_cast<void>(sys::ftruncate(file_.get(), status.st_size));
  return known ? size_of(status) : size_;
}

void HeldFile::unlock() {
  if (!directory_) return;
  // Still locked, so that nobody takes it between here and its end. It stays if something is in it.
  static_cast<void>(sys::unlinkat(home_.get(), directory_name_.c_str(), AT_REMOVEDIR));
  name_.clear();
  directory_.reset();
}

// --- without taking it ----------------------------------------------------------------------------
Result<HeldBytes> find_held(int root, const UploadKey& key) {
  const auto nothing = [&key] {
    return fail(Reason::not_found, fmt::format("nothing is held of upload \"{}\"", key.name));
  };
  const auto directory =
      open_beneath(root, std::string(home_name) + '/' + directory_name_of(key), home_directory_flags);
  if (!directory) {
    if (directory.error().number == ENOENT) return nothing();
    return fail_errno(directory.error().number, "open the directory of an upload");
  }
  DirectoryReader reader(directory->get());
  for (;;) {
    const auto name = reader.next();
    if (!name) return std::unexpected(name.error());
    if (!*name) return nothing();
    auto file = open_beneath(directory->get(), std::string(**name), O_RDONLY | file_flags);
    struct stat status{};
    if (!file) {
      if (file.error().number == ENOENT || file.error().number == EACCES) continue;
      return fail_errno(file.error().number, "open what is held");
    }
    if (sys::fstat(file->get(), status) != 0) return fail_errno(errno, "ask what is held");
    if (S_ISREG(status.st_mode) && status.st_size > 0) return HeldBytes{std::move(*file), size_of(status)};
  }
}

namespace {

/// When the one file in it was last changed, which no client can set; nothing where what is in it is of no
/// use to any upload.
Result<std::optional<timespec>> last_changed(int directory) {
  std::optional<timespec> changed;
  DirectoryReader reader(directory);
  for (;;) {
    const auto name = reader.next();
    if (!name) return std::unexpected(name.error());
    if (!*name) return changed;
    if (changed || !is_hashed(**name)) return std::nullopt;
    struct stat status{};
    if (sys::fstatat(directory, (*name)->data(), status, AT_SYMLINK_NOFOLLOW) != 0) {
      return fail_errno(errno, "ask what is held");
    }
    if (!S_ISREG(status.st_mode) || status.st_size == 0) return std::nullopt;
    changed = status.st_ctim;
  }
}

bool is_older(const timespec& time, Duration age, std::chrono::system_clock::time_point now) {
  const auto then = std::chrono::seconds{time.tv_sec} + std::chrono::nanoseconds{time.tv_nsec};
  return now.time_since_epoch() - then > age;
}

}  // namespace

std::uint64_t drop_expired_held(int root, Duration age, std::chrono::system_clock::time_point now) {
  std::uint64_t gone = 0;
  const auto home = open_home(root);
  if (!home) return gone;
  DirectoryReader reader(home->get());
  for (;;) {
    const auto next = reader.next();
    if (!next || !*next) return gone;
    if (!(*next)->starts_with(held_prefix)) continue;
    const std::string name{**next};
    const auto directory = open_beneath(home->get(), name, home_directory_flags);
    if (!directory || try_lock(directory->get()) != Lock::taken) continue;
    const auto changed = last_changed(directory->get());
    if (!changed) continue;  // can't be judged now
    if (*changed && (age == Duration::zero() || !is_older(**changed, age, now))) continue;
    // Locked by us: who wants it meanwhile is told that it is busy, or makes it anew.
    if (const auto removed = remove_tree(home->get(), name)) gone += removed->bytes;
  }
}

}  // namespace ftpd
