// Digests of files: computed as bytes pass or from what is stored, kept with a file that did not change.
#pragma once

#include <sys/stat.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/unique_fd.h"

namespace ftpd {

enum class DigestKind : std::uint8_t { md5, sha256 };

/// "md5", "sha256": the word in a request, and the key in a reply.
[[nodiscard]] std::string_view name(DigestKind kind);
[[nodiscard]] std::optional<DigestKind> digest_kind_from_name(std::string_view name);

/// Lower-case hex of a digest of that kind, from text in either case; nothing where it is none.
[[nodiscard]] std::optional<std::string> parse_digest(DigestKind kind, std::string_view text);

/// Lower-case hex by kind; nothing where a kind is not known or not wanted.
class Digests {
 public:
  [[nodiscard]] const std::optional<std::string>& of(DigestKind kind) const {
    return kind == DigestKind::md5 ? md5_ : sha256_;
  }
  void set(DigestKind kind, std::string hex) { (kind == DigestKind::md5 ? md5_ : sha256_) = std::move(hex); }
  [[nodiscard]] bool empty() const { return !md5_ && !sha256_; }

 private:
  std::optional<std::string> md5_;
  std::optional<std::string> sha256_;
};

/// A set of kinds.
class DigestKinds {
 public:
  DigestKinds() = default;
  explicit DigestKinds(DigestKind kind) { add(kind); }
  void add(DigestKind kind) { (kind == DigestKind::md5 ? md5_ : sha256_) = true; }
  [[nodiscard]] bool has(DigestKind kind) const { return kind == DigestKind::md5 ? md5_ : sha256_; }
  [[nodiscard]] bool empty() const { return !md5_ && !sha256_; }

 private:
  bool md5_ = false;
  bool sha256_ = false;
};

/// One or more running digests over the same bytes (OpenSSL's EVP). Movable; used by one thread at a time.
class Hasher {
 public:
  explicit Hasher(DigestKinds kinds);
  ~Hasher();
  Hasher(Hasher&&) noexcept;
  Hasher& operator=(Hasher&&) noexcept;

  void update(std::span<const char> bytes);
  /// Of what has been given so far; updating may go on.
  [[nodiscard]] Digests digests() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// The digest of an open regular file's first `size` bytes, in steps, so that no thread is kept for
/// long. Reads with pread(2): the descriptor's position stays. Blocks (pool).
class FileDigest {
 public:
  FileDigest(std::shared_ptr<const UniqueFd> file, DigestKinds kinds, std::uint64_t size);

  /// Hashes about `budget` further bytes; true when all is done. Reason::system where the file can't be
  /// read or ends early.
  [[nodiscard]] Result<bool> step(std::size_t budget);
  [[nodiscard]] Digests digests() const { return hasher_.digests(); }

  static constexpr std::size_t usual_step = 8U << 20U;

 private:
  std::shared_ptr<const UniqueFd> file_;
  Hasher hasher_;
  std::uint64_t size_;
  std::uint64_t done_ = 0;
};

/// The digest that is kept with the file in an extended attribute (`user.ftpd.md5`, `user.ftpd.sha256`),
/// where it still belongs to it: same size, modification time and inode. Never an error.
[[nodiscard]] std::optional<std::string> kept_digest(int file, DigestKind kind, const struct stat& status);

/// Is the time old enough that any change from now on will show a later one? A file that was written within
/// the clock's last tick may be written again without that.
[[nodiscard]] bool is_settled(const timespec& mtime);

/// Keeps `hex` with the file, if the file system can, and if `status` (taken before the bytes were read)
/// is still true and settled. Whoever read a file that others may write makes sure that it was settled
/// before, too. Never an error.
void keep_digest(int file, DigestKind kind, const std::string& hex, const struct stat& status);

}  // namespace ftpd
