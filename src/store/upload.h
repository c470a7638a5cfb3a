// A file on its way in: staged, then committed under its name or gone.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "base/error.h"
#include "base/unique_fd.h"
#include "store/rel_path.h"

namespace ftpd {

class Store;

struct UploadRequest {
  RelPath path = RelPath::root();
  std::optional<std::uint64_t> size;  // where it is known: reserved at once (fallocate)
  mode_t mode = 0644;                 // permission bits, 0–0777
  std::optional<timespec> mtime;
  bool replace = true;   // false: `exists` when the name is taken, at the start and again, without a
                         // race, at the commit (renameat2, RENAME_NOREPLACE)
  bool parents = false;  // make missing directories (0755, less the umask) at the commit
};

/// Owned by one operation. The calls block (pool) but for write_from_pipe() and write() of a store
/// that is in_memory(). Destroyed before commit() succeeded, it leaves nothing behind.
///
/// The order of a commit: data written, mode and time set, fsync of the file, rename to the name,
/// fsync of the directory (and of each directory made on the way). A success means that bytes and
/// name are on stable storage, unless the store is not durable.
class Upload {
 public:
  Upload(Upload&&) noexcept;
  Upload& operator=(Upload&&) noexcept;
  ~Upload();

  /// Appends. All, or an Error (a short write is continued): then the upload is only fit to be destroyed.
  [[nodiscard]] Result<void> write(std::span<const char> bytes);

  /// Appends up to `size` bytes that wait in `pipe` (splice); the count that was moved, less than
  /// `size` only where the pipe held less.
  [[nodiscard]] Result<std::size_t> write_from_pipe(int pipe, std::size_t size);

  /// Bytes appended so far.
  [[nodiscard]] std::uint64_t written() const;

  /// Makes the file appear. Call once, last. On an Error nothing has appeared (but where the flush of
  /// the directory failed: then the name is there, and its durability is unknown).
  [[nodiscard]] Result<void> commit();

 private:
  friend class Store;
  struct State;
  explicit Upload(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace ftpd
