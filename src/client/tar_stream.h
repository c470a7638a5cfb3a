// Tar streams (pax), written and read piece by piece with libarchive.
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "client/outcome.h"

struct archive;
struct archive_entry;

namespace ftpd::client {

struct FreeArchive {
  void operator()(archive* stream) const;
  void operator()(archive_entry* entry) const;
};

/// Appends a stream to a string that its owner empties now and then. Modes and times are kept, owners are
/// not. Names are bytes.
class TarWriter {
 public:
  explicit TarWriter(std::string& out);

  /// A file of `about.st_size` bytes: data() has to bring them all.
  [[nodiscard]] Outcome<void> file(const std::string& name, const struct stat& about);
  [[nodiscard]] Outcome<void> directory(const std::string& name, const struct stat& about);
  [[nodiscard]] Outcome<void> data(std::string_view bytes);
  /// The archive's end.
  [[nodiscard]] Outcome<void> finish();

 private:
  [[nodiscard]] Outcome<void> header(const std::string& name, const struct stat& about, unsigned type);
  [[nodiscard]] Outcome<void> failure() const;
  std::unique_ptr<archive_entry, FreeArchive> entry_;
  std::unique_ptr<archive, FreeArchive> stream_;
};

/// What a stream says of one of its members. The name is the sender's word.
struct TarEntry {
  enum class Kind : std::uint8_t { file, directory, other } kind = Kind::other;
  std::string name;
  std::uint64_t size = 0;
  unsigned mode = 0;
  std::optional<timespec> mtime;
};

/// Where a stream comes from: blocks until there is something; empty at the end. What it gave is valid until
/// it is called again.
using TarSource = std::function<Outcome<std::string_view>()>;

/// Reads tar in any of its usual formats. A Failure of the source is handed on as it is.
class TarReader {
 public:
  explicit TarReader(TarSource source);
  TarReader(const TarReader&) = delete;
  TarReader& operator=(const TarReader&) = delete;

  /// The next member, what is left of the last one skipped; nothing at the archive's end.
  [[nodiscard]] Outcome<std::optional<TarEntry>> next();
  /// Some bytes of the member; empty at its end. Valid until the next call of anything here.
  [[nodiscard]] Outcome<std::string_view> data();

 private:
  [[nodiscard]] Failure failure() const;
  TarSource source_;
  std::optional<Failure> source_failure_;
  std::unique_ptr<char[]> piece_;
  std::unique_ptr<archive, FreeArchive> stream_;
  bool open_ = false;
};

}  // namespace ftpd::client
