// Where an upload is to appear: the directory that holds the name, and whether the name may be taken.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/unique_fd.h"
#include "store/rel_path.h"
#include "store/staging.h"

namespace ftpd {

/// Is a directory's descriptor to be flushed later? That one needs read permission.
enum class Flush : bool { no, yes };

/// The directory of a path; for a single component that is the root's own descriptor, borrowed.
class Destination {
 public:
  /// Reason::not_found where the directory is missing.
  [[nodiscard]] static Result<Destination> open(int root, const RelPath& path, Flush flush);

  /// The same, and makes the directories that are missing (0755, less the umask).
  [[nodiscard]] static Result<Destination> open_or_make(int root, const RelPath& path, Flush flush);

  Destination(Destination&& other) noexcept = default;
  Destination& operator=(Destination&& other) noexcept;
  ~Destination();

  [[nodiscard]] int fd() const { return directory_ ? directory_.get() : root_; }

  /// May a file take the name? Reason::is_directory, Reason::denied (a link, a special file),
  /// Reason::exists (a file, where `taken` refuses). The bytes that are gone once it has: those of the
  /// file in its place, if that has no other name.
  [[nodiscard]] Result<std::uint64_t> check(const RelPath& path, Taken taken) const;

  /// The new name to stable storage, and the directories on its way that were made: by us, or by another
  /// upload that has not flushed them yet.
  [[nodiscard]] Result<void> flush() const;

  /// Removes the directories that were made. Those that somebody uses by now are flushed instead.
  void remove_made() const;

 private:
  Destination(int root, std::string path, Flush flush) : root_(root), flush_(flush), path_(std::move(path)) {}
  [[nodiscard]] Result<void> make();
  void settle_made() const;

  int root_;
  Flush flush_;
  std::string path_;                       // of the directory, below the root; "." is that itself
  UniqueFd directory_;                     // empty: the root
  mutable std::vector<std::string> made_;  // below the root, outermost first; until flushed or removed
};

}  // namespace ftpd
