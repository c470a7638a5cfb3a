// Depth first with a list of directories in place of recursion.
#include "store/tree_remover.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include <cerrno>

#include "base/sys.h"

namespace ftpd {
namespace {

/// Directories held open: enough that a common tree is read once, few enough that no tree needs many.
constexpr std::size_t most_open = 16;

constexpr int usual_patience = 64;
constexpr int attempts = 16;

/// A directory in `directory`, or above it: neither through a link nor into what is mounted there. -1 and
/// errno as openat2(2); EXDEV: something is mounted there.
UniqueFd open_here(int directory, const char* name, std::uint64_t beneath) {
  open_how how{};
  how.flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC;
  how.resolve = RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV | beneath;
  // EAGAIN: something was renamed while the kernel looked.
  for (int attempt = 1;; ++attempt) {
    UniqueFd opened{sys::openat2(directory, name, how)};
    if (opened || errno != EAGAIN || attempt == attempts) return opened;
  }
}

std::unexpected<Error> fail_entry(int number, std::string_view name) {
  if (number == EXDEV || number == EBUSY) {
    return std::unexpected(
        Error{Reason::denied, number, fmt::format("something is mounted on \"{}\"", name)});
  }
  return fail_errno(number, fmt::format("remove \"{}\"", name));
}

}  // namespace

Result<TreeRemover::Identity> TreeRemover::identify(int directory) {
  struct stat status{};
  if (sys::fstat(directory, status) != 0) return fail_errno(errno, "look at a directory to remove");
  return Identity{status.st_dev, status.st_ino};
}

/// The errno, or 0. Something that is gone already is as good as removed.
int TreeRemover::unlink(int directory, const char* name, int flags) {
  int failed = sys::unlinkat(directory, name, flags) == 0 ? 0 : errno;
  if (failed == EACCES && directory != holder_ && sys::fchmod(directory, 0700) == 0) {
    failed = sys::unlinkat(directory, name, flags) == 0 ? 0 : errno;
  }
  if (failed == 0) ++entries_;
  return failed == ENOENT ? 0 : failed;
}

Result<void> TreeRemover::run() {
  above_.clear();
  open_.clear();
  patience_ = usual_patience;
  if (auto entered = enter(holder_, name_); !entered) return entered;
  while (!open_.empty()) {
    Level& level = open_.back();
    const auto name = level.reader.next();
    // ENOENT: others have removed the directory itself.
    if (!name && name.error().number != ENOENT) return std::unexpected(name.error());
    const bool more = name && *name;
    auto done = more ? remove_entry(level.directory.get(), **name) : leave();
    if (!done) return done;
  }
  return {};
}

Result<void> TreeRemover::remove_entry(int directory, std::string_view name) {
  struct stat status{};
  if (sys::fstatat(directory, name.data(), status, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT) != 0) {
    if (errno == ENOENT) return {};
    return fail_entry(errno, name);
  }
  if (S_ISDIR(status.st_mode)) return enter_if_there(directory, std::string(name));
  const std::uint64_t before = entries_;
  if (const int failed = unlink(directory, name.data(), 0); failed != 0) {
    // A directory by now: it is found again when the one that holds it turns out not to be empty.
    if (failed == EISDIR) return {};
    return fail_entry(failed, name);
  }
  if (entries_ > before && S_ISREG(status.st_mode) && status.st_nlink == 1) {
    ++removed_.files;
    removed_.bytes += static_cast<std::uint64_t>(status.st_size);
  }
  return {};
}

Result<void> TreeRemover::enter(int directory, std::string name) {
  UniqueFd entered = open_here(directory, name.c_str(), RESOLVE_BENEATH);
  if (!entered) {
    const int number = errno;
    // One that can't be read can still be removed if there is nothing in it.
    if (number == EACCES && unlink(directory, name.c_str(), AT_REMOVEDIR) == 0) return {};
    return fail_entry(number, name);
  }
  const auto identity = identify(entered.get());
  if (!identity) return std::unexpected(identity.error());
  if (open_.size() == most_open) {
    above_.push_back(open_.front().identity);
    open_.pop_front();
  }
  const int reading = entered.get();
  open_.push_back(Level{*identity, std::move(entered), DirectoryReader(reading), std::move(name)});
  return {};
}

/// Others may have removed it since it was looked at, or put something else in its place; see remove_entry.
Result<void> TreeRemover::enter_if_there(int directory, std::string name) {
  auto entered = enter(directory, std::move(name));
  if (entered) return entered;
  const int number = entered.error().number;
  if (number == ENOENT || number == ENOTDIR || number == ELOOP) return {};
  return entered;
}

/// The deepest directory has been read to its end.
Result<void> TreeRemover::leave() {
  const Level emptied = std::move(open_.back());
  open_.pop_back();
  // Read again, the directory above shows the emptied one again, which then is removed as usual.
  if (open_.empty() && !above_.empty()) return reopen_above(emptied.directory.get());

  const bool is_top = open_.empty();
  const int holder = is_top ? holder_ : open_.back().directory.get();
  const std::string& name = is_top ? name_ : emptied.name;
  const int failed = unlink(holder, name.c_str(), AT_REMOVEDIR);
  if (failed == 0 || failed == ENOTDIR) return {};  // ENOTDIR: something else has the name; see remove_entry
  if (failed != ENOTEMPTY && failed != EEXIST) return fail_entry(failed, name);
  if (--patience_ < 0) return fail(Reason::busy, fmt::format("others keep adding to \"{}\"", name));
  return enter_if_there(holder, name);
}

Result<void> TreeRemover::reopen_above(int directory) {
  UniqueFd above = open_here(directory, "..", 0);
  if (!above) return fail_errno(errno, "open the directory above one that was emptied");
  const auto identity = identify(above.get());
  if (!identity) return std::unexpected(identity.error());
  if (*identity != above_.back()) return fail(Reason::busy, "others moved a directory away meanwhile");
  above_.pop_back();
  const int reading = above.get();
  open_.push_back(Level{*identity, std::move(above), DirectoryReader(reading), ""});
  return {};
}

}  // namespace ftpd
