// Listings: getdents64(2), fstatat(2), and a list of directories still to visit in place of recursion.
#include "store/listing.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>
#include <cerrno>

#include "base/sys.h"
#include "store/resolve.h"

namespace ftpd {

Result<std::optional<std::string_view>> DirectoryReader::next() {
  for (;;) {
    if (begin_ == end_) {
      const ssize_t count = sys::getdents64(directory_, buffer_.get(), capacity);
      if (count < 0) return fail_errno(errno, "read directory");
      if (count == 0) return std::nullopt;
      begin_ = 0;
      end_ = static_cast<std::size_t>(count);
    }
    // The kernel aligns each record to 8 bytes, the buffer is aligned by new.
    const auto* const record = reinterpret_cast<const dirent64*>(buffer_.get() + begin_);
    begin_ += record->d_reclen;
    const std::string_view name{record->d_name};
    if (name != "." && name != "..") return name;
  }
}

Entry entry_of(const struct stat& status) {
  Entry entry;
  entry.type = S_ISREG(status.st_mode)   ? EntryType::file
               : S_ISDIR(status.st_mode) ? EntryType::directory
               : S_ISLNK(status.st_mode) ? EntryType::symlink
                                         : EntryType::other;
  entry.size = static_cast<std::uint64_t>(status.st_size);
  entry.mtime = status.st_mtim;
  entry.mode = status.st_mode & 0777;
  return entry;
}

namespace {

constexpr int directory_flags = O_RDONLY | O_DIRECTORY | O_NONBLOCK;

bool is_closed(int number) { return number == EACCES || number == EPERM; }

class Lister {
 public:
  explicit Lister(const ListRequest& request)
      : request_(request), name_bytes_left_(request.max_entries * 256) {}

  [[nodiscard]] Result<void> open_top() {
    auto top = open_beneath(request_.root, request_.path.text(), directory_flags);
    if (top) {
      top_ = std::move(*top);
      return {};
    }
    // A link that is itself what was asked for is like a file: no directory. One on the way is denied.
    if (top.error().number == ELOOP) {
      const auto status = stat_beneath(request_.root, request_.path);
      if (status && S_ISLNK(status->st_mode)) return fail_path(ENOTDIR, request_.path.text());
    }
    return std::unexpected(std::move(top.error()));
  }

  /// Appends what is in `directory`, whose names are to begin with `prefix` ("" or "a/b/").
  [[nodiscard]] Result<void> add(int directory, const std::string& prefix) {
    DirectoryReader reader(directory);
    for (;;) {
      const auto name = reader.next();
      if (!name) return std::unexpected(name.error());
      if (!*name) return {};
      if (prefix.empty() && request_.path.is_root() && **name == ".ftpd") continue;
      struct stat status{};
      const int flags = AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT;
      if (sys::fstatat(directory, (*name)->data(), status, flags) != 0) {
        if (errno == ENOENT) continue;  // it vanished meanwhile
        if (is_closed(errno) && !prefix.empty()) return {};
        return fail_path(errno, request_.path.text());
      }
      Entry entry = entry_of(status);
      entry.name = prefix;
      entry.name += **name;
      if (auto kept = keep(std::move(entry)); !kept) return kept;
    }
  }

  /// Visits the directories among the entries, those that this adds included. Depth needs no bound of
  /// its own: a directory's path is bounded like any other path.
  [[nodiscard]] Result<void> add_below() {
    for (std::size_t index = 0; index < entries_.size(); ++index) {
      if (entries_[index].type != EntryType::directory) continue;
      const std::string path = entries_[index].name;
      if (path.size() >= RelPath::max_size) {
        return fail(Reason::too_large,
                    fmt::format("\"{}\" holds directories too deep to be listed: at most {} "
                                "bytes of path are allowed",
                                request_.path.text(), RelPath::max_size));
      }
      const auto directory = open_beneath(top_.get(), path, directory_flags);
      if (!directory) {
        const int number = directory.error().number;
        if (number == ENOENT || number == ENOTDIR || number == ELOOP) continue;  // gone or replaced
        if (is_closed(number)) continue;  // an entry like others, but what it holds is not ours to see
        return std::unexpected(directory.error());
      }
      if (auto added = add(directory->get(), path + "/"); !added) return added;
    }
    return {};
  }

  [[nodiscard]] std::vector<Entry> sorted() && {
    std::ranges::sort(entries_, {}, &Entry::name);
    // A directory that changes while it is read may show one name twice.
    const auto again = std::ranges::unique(entries_, {}, &Entry::name);
    entries_.erase(again.begin(), again.end());
    return std::move(entries_);
  }

  [[nodiscard]] int top() const { return top_.get(); }

 private:
  Result<void> keep(Entry entry) {
    if (entries_.size() == request_.max_entries || entry.name.size() > name_bytes_left_) {
      return fail(Reason::too_large,
                  fmt::format("\"{}\" holds more than {} entries, too many for one listing",
                              request_.path.text(), entries_.size()));
    }
    name_bytes_left_ -= entry.name.size();
    entries_.push_back(std::move(entry));
    return {};
  }

  const ListRequest& request_;
  UniqueFd top_;
  std::size_t name_bytes_left_;
  std::vector<Entry> entries_;
};

}  // namespace

Result<std::vector<Entry>> list_directory(const ListRequest& request) {
  Lister lister(request);
  if (auto opened = lister.open_top(); !opened) return std::unexpected(std::move(opened.error()));
  if (auto added = lister.add(lister.top(), ""); !added) return std::unexpected(std::move(added.error()));
  return std::move(lister).sorted();
}

Result<std::vector<Entry>> list_tree(const ListRequest& request) {
  Lister lister(request);
  if (auto opened = lister.open_top(); !opened) return std::unexpected(std::move(opened.error()));
  if (auto added = lister.add(lister.top(), ""); !added) return std::unexpected(std::move(added.error()));
  if (auto added = lister.add_below(); !added) return std::unexpected(std::move(added.error()));
  return std::move(lister).sorted();
}

}  // namespace ftpd
