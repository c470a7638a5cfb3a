// A root: opened and checked; reading below it. Writing is in upload.cpp.
#include "store/store.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/magic.h>

#include <cerrno>

#include "base/sys.h"
#include "store/group_commit.h"
#include "store/held.h"
#include "store/listing.h"
#include "store/resolve.h"
#include "store/staging.h"

namespace ftpd {
namespace {

/// The administrator's own path: links in it are his.
UniqueFd open_root(const std::string& directory) {
  open_how how{};
  how.flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC;
  return UniqueFd{sys::openat2(AT_FDCWD, directory.c_str(), how)};
}

Result<UniqueFd> open_or_make_root(const std::string& directory) {
  UniqueFd root = open_root(directory);
  if (root) return root;
  if (errno == ENOENT) {
    if (sys::mkdirat(AT_FDCWD, directory.c_str(), 0755) != 0 && errno != EEXIST) {
      if (errno != ENOENT) return fail_errno(errno, fmt::format("can't make the root \"{}\"", directory));
      return std::unexpected(
          Error{Reason::not_found, ENOENT,
                fmt::format("root \"{0}\" is missing, and so is the directory that is to hold it; "
                            "make it with: mkdir -p \"{0}\"",
                            directory)});
    }
    root = open_root(directory);
    if (root) return root;
  }
  if (errno == ENOTDIR) {
    return std::unexpected(Error{Reason::not_directory, ENOTDIR,
                                 fmt::format("root \"{}\" is not a directory; choose another", directory)});
  }
  return fail_errno(errno, fmt::format("can't open the root \"{}\"", directory));
}

Result<void> check_writers(const std::string& directory, mode_t mode) {
  if ((mode & 022) == 0) return {};
  return fail(Reason::denied,
              fmt::format("root \"{}\" can be written by others (mode {:04o}); chmod go-w it, or set "
                          "allow_writable_root = true",
                          directory, mode & 07777));
}

std::uint64_t unit_of(const struct statfs& status) {
  return static_cast<std::uint64_t>(status.f_frsize > 0 ? status.f_frsize : status.f_bsize);
}

Result<bool> lives_in_memory(int fd) {
  struct statfs status{};
  if (sys::fstatfs(fd, status) != 0) return fail_errno(errno, "ask for the file system");
  return status.f_type == TMPFS_MAGIC || status.f_type == RAMFS_MAGIC;
}

}  // namespace

std::string_view name(EntryType type) {
  switch (type) {
    case EntryType::file: return "file";
    case EntryType::directory: return "directory";
    case EntryType::symlink: return "symlink";
    case EntryType::other: return "other";
  }
  return "other";
}

Store::Store(std::string directory, Options options, UniqueFd root)
    : directory_(std::move(directory)),
      options_(options),
      root_(std::move(root)),
      quota_(std::make_shared<Quota>(root_.get(), options.quota)),
      staging_(std::make_unique<Staging>(root_.get())),
      group_commit_(std::make_unique<GroupCommit>(*this)) {}

Store::~Store() = default;

Result<std::shared_ptr<Store>> Store::open(const std::string& directory, Options options) {
  auto root = open_or_make_root(directory);
  if (!root) return std::unexpected(std::move(root.error()));
  struct stat status{};
  if (sys::fstat(root->get(), status) != 0) return fail_errno(errno, fmt::format("root \"{}\"", directory));
  if (!options.allow_writable_root) {
    if (auto safe = check_writers(directory, status.st_mode); !safe) {
      return std::unexpected(std::move(safe.error()));
    }
  }
  const auto in_memory = lives_in_memory(root->get());
  if (!in_memory) return std::unexpected(in_memory.error());

  std::shared_ptr<Store> store(new Store(directory, options, std::move(*root)));
  store->in_memory_ = *in_memory;
  store->drop_expired();
  // A root for reading only is fine: an upload tries again and says what is wrong.
  static_cast<void>(store->staging_->prepare());
  return store;
}

Result<OpenFile> Store::open_file(const RelPath& path) const {
  // To open a device may do something, and a FIFO blocks, so look before; and look again at what was
  // opened, since the name may lead elsewhere by then.
  const auto seen = stat_beneath(root_.get(), path);
  if (!seen) return std::unexpected(seen.error());
  if (auto regular = require_regular(seen->st_mode, path.text()); !regular) {
    return std::unexpected(std::move(regular.error()));
  }
  auto file = open_beneath(root_.get(), path.text(), O_RDONLY | O_NONBLOCK | O_NOCTTY | O_NOFOLLOW);
  if (!file) return std::unexpected(std::move(file.error()));
  struct stat status{};
  if (sys::fstat(file->get(), status) != 0) return fail_path(errno, path.text());
  if (auto regular = require_regular(status.st_mode, path.text()); !regular) {
    return std::unexpected(std::move(regular.error()));
  }
  const Entry entry = entry_of(status);
  const auto in_memory = lives_in_memory(file->get());
  return OpenFile{std::make_shared<const UniqueFd>(std::move(*file)),
                  entry.size,
                  entry.mtime,
                  entry.mode,
                  in_memory && *in_memory,
                  status};
}

Result<UniqueFd> Store::open_directory(const RelPath& path) const {
  return open_beneath(root_.get(), path.text(), O_PATH | O_DIRECTORY);
}

Result<Entry> Store::stat(const RelPath& path) const {
  const auto status = stat_beneath(root_.get(), path);
  if (!status) return std::unexpected(status.error());
  return entry_of(*status);
}

Result<std::vector<Entry>> Store::list(const RelPath& path, bool recursive, std::size_t max_entries) const {
  const ListRequest request{root_.get(), path, max_entries};
  return recursive ? list_tree(request) : list_directory(request);
}

Result<Held> Store::held(const UploadKey& key) const {
  auto found = find_held(root_.get(), key);
  if (!found) return std::unexpected(std::move(found.error()));
  return Held{std::make_shared<const UniqueFd>(std::move(found->file)), found->size};
}

void Store::drop_expired(std::chrono::system_clock::time_point now) const {
  staging_->remove_dead();  // of a daemon that shared the root with us
  const auto still = quota_->steady();
  quota_->removed(drop_expired_held(root_.get(), options_.partial_ttl, now));
}

Result<Space> Store::space() const {
  struct statfs status{};
  if (sys::fstatfs(root_.get(), status) != 0) return fail_errno(errno, "ask for the free space");
  const auto used = quota_->used();
  if (!used) return std::unexpected(used.error());
  const std::uint64_t unit = unit_of(status);
  return Space{.total = static_cast<std::uint64_t>(status.f_blocks) * unit,
               .free = static_cast<std::uint64_t>(status.f_bavail) * unit,
               .quota = quota_->limit(),
               .quota_used = *used};
}

Result<std::uint64_t> Store::free_space() const {
  struct statfs status{};
  if (sys::fstatfs(root_.get(), status) != 0) return fail_errno(errno, "ask for the free space");
  return static_cast<std::uint64_t>(status.f_bavail) * unit_of(status);
}

}  // namespace ftpd
