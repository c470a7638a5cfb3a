// Names in a root: removed, made, moved. What is common to all: the directory that holds a name is opened
// beneath the root, then one call changes the last component in it.
#include "store/names.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include <cerrno>

#include "base/sys.h"
#include "store/destination.h"
#include "store/resolve.h"
#include "store/staging.h"
#include "store/store.h"

namespace ftpd {
namespace {

/// How often mkdir begins again when a directory that it needs is removed under it.
constexpr int make_attempts = 3;

Flush flush_rule(const Store::Options& options) { return options.durable ? Flush::yes : Flush::no; }

Result<void> flush_if(Flush flush, const Destination& holder) {
  return flush == Flush::yes ? holder.flush() : Result<void>{};
}

std::unexpected<Error> fail_root(std::string_view what) {
  return fail(Reason::invalid, fmt::format("\".\" is the root itself, which can't be {}", what));
}

std::unexpected<Error> fail_removal(int number, const RelPath& path) {
  if (number == EBUSY) {
    return std::unexpected(
        Error{Reason::denied, number, fmt::format("something is mounted on \"{}\"", path.text())});
  }
  // A few file systems say so of a directory that is not empty.
  return fail_path(number == EEXIST ? ENOTEMPTY : number, path.text());
}

/// What the name is in its directory; of a link: the link itself.
Result<struct stat> status_in(const Destination& holder, const RelPath& path) {
  struct stat status{};
  const int flags = AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT;
  if (sys::fstatat(holder.fd(), path.name().data(), status, flags) != 0) {
    return fail_path(errno, path.text());
  }
  return status;
}

/// Bytes that are gone with this name.
std::uint64_t bytes_of(const struct stat& status) {
  const bool last_name = S_ISREG(status.st_mode) && status.st_nlink == 1;
  return last_name ? static_cast<std::uint64_t>(status.st_size) : 0;
}

bool is_same_file(const struct stat& one, const struct stat& other) {
  return one.st_dev == other.st_dev && one.st_ino == other.st_ino;
}

/// To a name that must be free, with a file system that can't see to that when it renames. The errno, or 0.
int move_in_steps(NameIn from, NameIn to, mode_t mode) {
  // The name was free a moment ago. If it is not any more, a directory replaces nothing but an empty one.
  if (S_ISDIR(mode)) {
    return sys::renameat2(from.directory, from.name, to.directory, to.name, 0) == 0 ? 0 : errno;
  }
  if (sys::linkat(from.directory, from.name, to.directory, to.name, 0) != 0) return errno;
  if (sys::unlinkat(from.directory, from.name, 0) == 0) return 0;
  const int failed = errno;
  static_cast<void>(sys::unlinkat(to.directory, to.name, 0));
  return failed;
}

int move(NameIn from, NameIn to, mode_t mode, Taken taken) {
  const unsigned flags = taken == Taken::refuse ? RENAME_NOREPLACE : 0;
  if (sys::renameat2(from.directory, from.name, to.directory, to.name, flags) == 0) return 0;
  if (errno == EINVAL && taken == Taken::refuse) return move_in_steps(from, to, mode);
  return errno;
}

}  // namespace

Result<RemovedTree> remove_tree(int holder, const std::string& name) {
  TreeRemover remover(holder, name);
  if (auto done = remover.run(); !done) return std::unexpected(std::move(done.error()));
  return remover.removed();
}

// --- rm -------------------------------------------------------------------------------------------
namespace {

/// A directory that is to go with all below it. It is moved to the staging area first, so that it is gone
/// for everybody in one step, and so that what a killed daemon leaves is removed at the next start.
/// Where it can't be moved (it is on another file system, the disk is full) it is removed in place.
class Removal {
 public:
  Removal(const Destination& holder, const RelPath& path, Flush flush)
      : holder_(holder), path_(path), flush_(flush), remover_(holder.fd(), std::string(path.name())) {}

  void put_aside(Staging& staging) {
    auto directory = staging.directory();
    if (!directory) return;
    std::string name = fmt::format("{:x}", (*directory)->next_number());
    const int moved = sys::renameat2(holder_.fd(), path_.name().data(), (*directory)->fd(), name.c_str(), 0);
    if (moved != 0) return;
    aside_ = std::move(*directory);
    name_ = std::move(name);
    remover_ = TreeRemover(aside_->fd(), name_);
    flushed_ = flush_if(flush_, holder_);
  }

  [[nodiscard]] Result<void> run() {
    auto done = remover_.run();
    // What failed once may work now; what is left after that is put back, for all to see.
    if (!done) done = remover_.run();
    if (!done) {
      put_back();
      return std::unexpected(explain(std::move(done.error())));
    }
    return aside_ != nullptr ? flushed_ : flush_if(flush_, holder_);
  }

  [[nodiscard]] const RemovedTree& removed() const { return remover_.removed(); }

 private:
  void put_back() {
    if (aside_ == nullptr) return;
    // Where it fails, since the name is taken by now: the next start removes what is left.
    static_cast<void>(
        move({aside_->fd(), name_.c_str()}, {holder_.fd(), path_.name().data()}, S_IFDIR, Taken::refuse));
    static_cast<void>(flush_if(flush_, holder_));
  }

  [[nodiscard]] Error explain(Error error) const {
    error.text =
        fmt::format("\"{}\"{}: {}", path_.text(), remover_.began() ? " is removed in part" : "", error.text);
    return error;
  }

  const Destination& holder_;
  const RelPath& path_;
  Flush flush_;
  TreeRemover remover_;
  std::shared_ptr<StagingDirectory> aside_;  // where it was moved to; empty: it is still in its place
  std::string name_;                         // there
  Result<void> flushed_;
};

}  // namespace

Result<void> Store::remove(const RelPath& path, bool recursive) {
  if (path.is_root()) return fail_root("removed");
  const Flush flush = flush_rule(options_);
  const auto holder = Destination::open(root_.get(), path, flush);
  if (!holder) return std::unexpected(holder.error());
  const auto status = status_in(*holder, path);
  if (!status) return std::unexpected(status.error());
  if (S_ISDIR(status->st_mode)) {
    if (!recursive) return fail_path(EISDIR, path.text());
    // From the move on no count sees the files, and what is gone is told at the end: nobody is to count
    // between.
    const auto still = quota_->steady();
    Removal removal(*holder, path, flush);
    removal.put_aside(*staging_);
    auto removed = removal.run();
    quota_->removed(removal.removed().bytes);
    return removed;
  }
  {
    const auto still = quota_->steady();
    if (sys::unlinkat(holder->fd(), path.name().data(), 0) != 0) return fail_removal(errno, path);
    quota_->removed(bytes_of(*status));
  }
  return flush_if(flush, *holder);
}

Result<void> Store::remove_directory(const RelPath& path) {
  if (path.is_root()) return fail_root("removed");
  const Flush flush = flush_rule(options_);
  const auto holder = Destination::open(root_.get(), path, flush);
  if (!holder) return std::unexpected(holder.error());
  if (sys::unlinkat(holder->fd(), path.name().data(), AT_REMOVEDIR) != 0) {
    const int number = errno;
    const auto status = status_in(*holder, path);
    if (number == ENOTDIR && status && !S_ISREG(status->st_mode)) {
      return fail_path(S_ISLNK(status->st_mode) ? ELOOP : ENXIO, path.text());
    }
    return fail_removal(number, path);
  }
  return flush_if(flush, *holder);
}

// --- mkdir ----------------------------------------------------------------------------------------
namespace {

/// Makes the directory in its holder, or leaves nothing.
Result<void> make_in(const Destination& holder, const RelPath& path, Flush flush) {
  auto made = Result<void>{};
  if (sys::mkdirat(holder.fd(), path.name().data(), 0755) != 0) {
    made = fail_path(errno, path.text());
  } else if (made = flush_if(flush, holder); !made) {
    static_cast<void>(sys::unlinkat(holder.fd(), path.name().data(), AT_REMOVEDIR));
  }
  if (!made) holder.remove_made();
  return made;
}

Result<void> make_with_parents(int root, const RelPath& path, Flush flush) {
  for (int attempt = 1;; ++attempt) {
    auto made = Result<void>{};
    if (const auto holder = Destination::open_or_make(root, path, flush)) {
      made = make_in(*holder, path, flush);
      if (made) return made;
      const auto status = status_in(*holder, path);
      const bool there = made.error().number == EEXIST && status && S_ISDIR(status->st_mode);
      if (there) return flush_if(flush, *holder);
    } else {
      made = std::unexpected(holder.error());
    }
    // Another call that failed may have removed the directory that it made and both used.
    if (made.error().number != ENOENT || attempt == make_attempts) return made;
  }
}

}  // namespace

Result<void> Store::make_directory(const RelPath& path, bool parents) {
  if (path.is_root()) return fail_root("made");
  const Flush flush = flush_rule(options_);
  if (parents) return make_with_parents(root_.get(), path, flush);
  const auto holder = Destination::open(root_.get(), path, flush);
  if (!holder) return std::unexpected(holder.error());
  return make_in(*holder, path, flush);
}

// --- mv -------------------------------------------------------------------------------------------
namespace {

bool is_below(const RelPath& path, const RelPath& directory) {
  return path.text().size() > directory.text().size() && path.text().starts_with(directory.text()) &&
         path.text()[directory.text().size()] == '/';
}

/// May what is there be replaced?
Result<void> check_replaced(mode_t there, const RelPath& path, Taken taken) {
  if (auto regular = require_regular(there, path.text()); !regular) return regular;
  if (taken == Taken::refuse) return fail_path(EEXIST, path.text());
  return {};
}

/// Of two names of one file rename(2) leaves both. The errno, or 0.
int drop_second_name(NameIn name, const struct stat& status) {
  if (status.st_nlink == 1) return 0;  // one name after all, spelled in two ways
  return sys::unlinkat(name.directory, name.name, 0) == 0 ? 0 : errno;
}

std::unexpected<Error> fail_move(int number, const RelPath& from, const RelPath& to) {
  switch (number) {
    case EXDEV:
      return std::unexpected(Error{
          Reason::unsupported, number,
          fmt::format("\"{}\" is on another file system than \"{}\"; it can be copied, but not moved there",
                      to.text(), from.text())});
    case EBUSY: return fail_removal(number, from);
    case EEXIST:
    case EISDIR: return fail_path(number, to.text());
    default: return fail_errno(number, fmt::format("move \"{}\" to \"{}\"", from.text(), to.text()));
  }
}

}  // namespace

Result<void> Store::rename(const RelPath& from, const RelPath& to, bool replace) {
  if (from.is_root()) return fail_root("moved");
  if (to.is_root()) return fail_root("replaced");
  const Flush flush = flush_rule(options_);
  const auto source = Destination::open(root_.get(), from, flush);
  if (!source) return std::unexpected(source.error());
  const auto moved = status_in(*source, from);
  if (!moved) return std::unexpected(moved.error());
  if (from == to) return replace ? Result<void>{} : fail_path(EEXIST, to.text());
  const bool is_directory = S_ISDIR(moved->st_mode);
  if (is_directory && is_below(to, from)) {
    return fail(Reason::invalid,
                fmt::format("\"{}\" is inside \"{}\"; a directory can't be moved into itself", to.text(),
                            from.text()));
  }
  const auto target = Destination::open(root_.get(), to, flush);
  if (!target) return std::unexpected(target.error());

  const Taken taken = replace && !is_directory ? Taken::replace : Taken::refuse;
  const auto there = status_in(*target, to);
  if (!there && there.error().number != ENOENT) return std::unexpected(there.error());
  if (there) {
    if (auto free = check_replaced(there->st_mode, to, taken); !free) return free;
  }
  const NameIn old_name{source->fd(), from.name().data()};
  const NameIn new_name{target->fd(), to.name().data()};
  {
    const auto still = quota_->steady();
    int failed = move(old_name, new_name, moved->st_mode, taken);
    if (failed == 0 && there && is_same_file(*moved, *there)) {
      failed = drop_second_name(old_name, *moved);
    } else if (failed == 0 && there) {
      quota_->removed(bytes_of(*there));
    }
    if (failed != 0) return fail_move(failed, from, to);
  }
  auto flushed = flush_if(flush, *target);
  if (from.parent() == to.parent()) return flushed;
  auto source_flushed = flush_if(flush, *source);
  return flushed ? source_flushed : flushed;
}

}  // namespace ftpd
