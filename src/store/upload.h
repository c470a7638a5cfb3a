// A file on its way in: staged, then committed under its name or gone (or held, to be resumed).
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "base/error.h"
#include "base/unique_fd.h"
#include "store/digest.h"
#include "store/rel_path.h"

namespace ftpd {

class Store;

/// Whose upload it is, and what he calls it: 1 to 64 of A-Z a-z 0-9 _ -.
struct UploadKey {
  std::string owner;  // role and user; any bytes
  std::string name;
};

struct UploadRequest {
  RelPath path = RelPath::root();
  std::optional<std::uint64_t> size;  // of the whole file, where it is known: reserved at once (fallocate)
  mode_t mode = 0644;                 // permission bits, 0–0777
  std::optional<timespec> mtime;
  bool replace = true;            // false: `exists` when the name is taken, at the start and again, without a
                                  // race, at the commit (renameat2, RENAME_NOREPLACE)
  bool parents = false;           // make missing directories (0755, less the umask) at the commit
  DigestKinds compute;            // computed as the bytes pass
  Digests expected;               // checked before the file appears: Reason::checksum
  std::optional<UploadKey> held;  // what arrives is kept when the upload breaks off
  std::optional<std::uint64_t> offset;  // only with `held`: goes on from there; else what is held is dropped
};

/// What a commit has made.
struct Stored {
  std::uint64_t size = 0;
  Digests digests;  // those of UploadRequest::compute
};

/// A file whose bytes are at hand: one of many that share their flushes.
struct SmallUpload {
  UploadRequest request;  // without `held`; `size`, where given, is the size of `bytes`
  std::string bytes;
  std::move_only_function<void(Result<Stored>)> done;  // on a thread of the pool
};

/// Owned by one operation. The calls block (pool) but for write_from_pipe() and write() of a store
/// that is in_memory() and computes no digest. Destroyed before commit() succeeded, it leaves nothing
/// behind; one with a key leaves what arrived, unless drop() was called.
///
/// The order of a commit: data written, digests compared, mode and time set, fsync of the file, rename to
/// the name, fsync of the directory (and of each directory made on the way). A success means that bytes
/// and name are on stable storage, unless the store is not durable.
class Upload {
 public:
  Upload(Upload&&) noexcept;
  Upload& operator=(Upload&&) noexcept;
  ~Upload();

  /// Appends. All, or an Error (a short write is continued): then the upload is only fit to be destroyed.
  /// Reason::too_large over the store's max_file, Reason::quota.
  [[nodiscard]] Result<void> write(std::span<const char> bytes);

  /// Appends up to `size` bytes that wait in `pipe`: spliced, or read where a digest is computed. The
  /// count that was moved, less than `size` only where the pipe held less.
  [[nodiscard]] Result<std::size_t> write_from_pipe(int pipe, std::size_t size);

  /// Bytes of the file so far, what was held included.
  [[nodiscard]] std::uint64_t written() const;

  /// A digest that the client tells only now.
  void expect(DigestKind kind, std::string hex);

  /// Digests that are wanted or expected and have not been computed as the bytes passed (those of what was
  /// held, those told late) are computed from the file, about `budget` bytes at a time. True when nothing
  /// is left to do; commit() does what is left itself.
  [[nodiscard]] Result<bool> catch_up(std::size_t budget);

  /// Makes the file appear. Call once, last. On an Error nothing has appeared (but where the flush of
  /// the directory failed: then the name is there, and its durability is unknown). Reason::checksum: what
  /// was held is dropped, too.
  [[nodiscard]] Result<Stored> commit();

  /// Called off: what was held is not kept either.
  void drop();

 private:
  friend class Store;
  struct State;
  explicit Upload(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace ftpd
