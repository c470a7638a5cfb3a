// One root directory and everything that may be done below it.
//
// Every name is resolved by openat2(2) from the root's descriptor: beneath it, no symbolic links, no
// magic links. Nothing builds a path string and hopes. Calls may block on a disk: they are made on
// the pool, never on a loop. All are thread-safe.
#pragma once

#include <sys/stat.h>
#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/unique_fd.h"
#include "reactor/offload.h"
#include "store/digest.h"
#include "store/quota.h"
#include "store/rel_path.h"
#include "store/upload.h"

namespace ftpd {

enum class EntryType : std::uint8_t { file, directory, symlink, other };

/// "file", "directory", "symlink", "other".
[[nodiscard]] std::string_view name(EntryType type);

struct Entry {
  std::string name;  // of a listing; bytes as on disk, perhaps not UTF-8
  EntryType type = EntryType::other;
  std::uint64_t size = 0;
  timespec mtime{};
  mode_t mode = 0;  // permission bits
};

struct OpenFile {
  std::shared_ptr<const UniqueFd> file;
  std::uint64_t size = 0;
  timespec mtime{};
  mode_t mode = 0;
  bool in_memory = false;  // tmpfs or ramfs
  struct stat status{};    // as it was when it was opened
};

/// What is held of an upload that broke off.
struct Held {
  std::shared_ptr<const UniqueFd> file;
  std::uint64_t size = 0;
};

/// Bytes. `quota` 0: none.
struct Space {
  std::uint64_t total = 0;
  std::uint64_t free = 0;
  std::uint64_t quota = 0;
  std::uint64_t quota_used = 0;
};

class GroupCommit;
class Staging;

class Store : public std::enable_shared_from_this<Store> {
 public:
  struct Options {
    bool durable = true;                            // flush file and directory before a commit returns
    bool allow_writable_root = false;               // else a root that group or others can write is refused
    std::uint64_t max_file = 0;                     // bytes of one file; 0: no limit
    std::uint64_t quota = 0;                        // bytes below the root; 0: no limit
    Duration partial_ttl = std::chrono::hours{24};  // unfinished uploads are dropped after that; 0: never
  };

  /// Makes the directory where it is missing (one level), checks it, makes `.ftpd/` and this store's
  /// own staging directory in it (mode 0700, locked while the store lives), and removes staging
  /// directories that no living process holds: an upload cut off by a crash leaves nothing, but for one
  /// that can be resumed, until it expires.
  /// A root that can't be written is fine until the first upload.
  [[nodiscard]] static Result<std::shared_ptr<Store>> open(const std::string& directory, Options options);
  ~Store();
  Store(const Store&) = delete;
  Store& operator=(const Store&) = delete;

  /// A regular file for reading. Others: Reason::is_directory, Reason::denied (link, special file).
  /// A FIFO or device is recognised before it is opened for real, so nothing blocks.
  [[nodiscard]] Result<OpenFile> open_file(const RelPath& path) const;

  /// A directory as an O_PATH descriptor, for a command's working directory.
  [[nodiscard]] Result<UniqueFd> open_directory(const RelPath& path) const;

  /// Of a link: of the link itself.
  [[nodiscard]] Result<Entry> stat(const RelPath& path) const;

  /// Sorted by the name's bytes; `.ftpd` of the root is left out. `recursive`: names relative to
  /// `path`, links not followed, sorted by the bytes of the whole name.
  /// Reason::not_directory for a file, Reason::too_large above `max_entries`.
  [[nodiscard]] Result<std::vector<Entry>> list(const RelPath& path, bool recursive,
                                                std::size_t max_entries) const;

  /// Would an upload begin? What can be told before the first byte of the body, without staging anything.
  [[nodiscard]] Result<void> check_upload(const UploadRequest& request) const;

  /// Begins an upload: makes the staged file and reserves its room. See Upload.
  [[nodiscard]] Result<Upload> begin_upload(UploadRequest request);

  /// The whole upload of a file whose bytes are at hand, as one job: what begin_upload, write and commit
  /// do, in fewer system calls. `request.size`, where given, is the size of `bytes`; no `held`.
  [[nodiscard]] Result<Stored> put_small(UploadRequest request, std::span<const char> bytes);

  /// The same, later, on the pool: those that wait together are flushed together (group commit). Any
  /// thread; does not block. The store stays alive until `done` was called.
  void put_small_later(Offload& pool, SmallUpload upload);

  /// What is held under this key; Reason::not_found for nothing.
  [[nodiscard]] Result<Held> held(const UploadKey& key) const;

  /// Drops unfinished uploads that are older than partial_ttl and in nobody's hands.
  void drop_expired(std::chrono::system_clock::time_point now = std::chrono::system_clock::now()) const;

  /// A file, or a link or special file itself; with `recursive` a directory and all below it.
  /// Reason::is_directory without. Durable stores flush the directory.
  [[nodiscard]] Result<void> remove(const RelPath& path, bool recursive);
  /// An empty directory. Reason::not_empty, Reason::not_directory.
  [[nodiscard]] Result<void> remove_directory(const RelPath& path);
  /// Reason::exists where the name is taken, by a directory too unless `parents`; 0755 less the umask.
  [[nodiscard]] Result<void> make_directory(const RelPath& path, bool parents);
  /// One step, as rename(2). A file may replace a file (Reason::exists where `taken` refuses), nothing
  /// replaces a directory, and a directory nothing. A link or special file is moved itself.
  [[nodiscard]] Result<void> rename(const RelPath& from, const RelPath& to, bool replace);

  [[nodiscard]] Result<Space> space() const;

  /// Bytes that an upload may still take on the root's file system.
  [[nodiscard]] Result<std::uint64_t> free_space() const;
  [[nodiscard]] Quota& quota() const { return *quota_; }
  [[nodiscard]] const Options& options() const { return options_; }

  /// Files of this root live in memory (tmpfs, ramfs): moving bytes never waits for a disk.
  [[nodiscard]] bool in_memory() const { return in_memory_; }
  [[nodiscard]] const std::string& directory() const { return directory_; }

 private:
  friend class Upload;
  friend class GroupCommit;
  friend class SmallCommit;
  friend class TreeUpload;
  friend class TreeSender;
  Store(std::string directory, Options options, UniqueFd root);
  [[nodiscard]] Result<Upload> begin_staged(UploadRequest request, std::uint64_t replaced);
  [[nodiscard]] Result<Upload> begin_held(UploadRequest request, std::uint64_t replaced);
  [[nodiscard]] Result<Stored> put_with_parents(UploadRequest request, std::span<const char> bytes);

  std::string directory_;
  Options options_;
  UniqueFd root_;
  bool in_memory_ = false;
  std::shared_ptr<Quota> quota_;
  std::unique_ptr<Staging> staging_;
  std::unique_ptr<GroupCommit> group_commit_;
};

}  // namespace ftpd
