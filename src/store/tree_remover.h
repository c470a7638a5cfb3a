// Removing a directory with all below it, while others may change it.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/unique_fd.h"
#include "store/listing.h"

namespace ftpd {

/// What is gone: regular files that had no other name, and their lengths.
struct RemovedTree {
  std::uint64_t files = 0;
  std::uint64_t bytes = 0;
};

/// Removes one directory. Links and special files are removed themselves; what is mounted inside is
/// Reason::denied, and stays. A directory inside that its owner may not write is made writable, so that
/// the owner removes as much as the superuser.
///
/// Nothing outside is touched, whatever others do meanwhile: each directory is opened from the descriptor
/// of the one that holds it, no links. Only the deepest few stay open, however deep the tree is; the way
/// back to one that was closed is "..", if that is still the directory that it was. It is read again from
/// its start then, where only what is not yet removed is left.
class TreeRemover {
 public:
  /// Borrows `holder`, the directory that has the `name` (one component).
  TreeRemover(int holder, std::string name) : holder_(holder), name_(std::move(name)) {}

  /// May be called again after an Error, and goes on with what is left. Reason::not_found,
  /// Reason::not_directory; Reason::busy where others add or move faster than this removes.
  [[nodiscard]] Result<void> run();

  [[nodiscard]] const RemovedTree& removed() const { return removed_; }
  /// Is anything gone at all?
  [[nodiscard]] bool began() const { return entries_ > 0; }

 private:
  struct Identity {
    dev_t device = 0;
    ino_t inode = 0;
    friend bool operator==(const Identity&, const Identity&) = default;
  };
  struct Level {
    Identity identity;
    UniqueFd directory;
    DirectoryReader reader;
    std::string name;  // in the directory above; "" where that one was closed
  };

  [[nodiscard]] static Result<Identity> identify(int directory);
  [[nodiscard]] int unlink(int directory, const char* name, int flags);
  [[nodiscard]] Result<void> remove_entry(int directory, std::string_view name);
  [[nodiscard]] Result<void> enter(int directory, std::string name);
  [[nodiscard]] Result<void> enter_if_there(int directory, std::string name);
  [[nodiscard]] Result<void> leave();
  [[nodiscard]] Result<void> reopen_above(int directory);

  int holder_;
  std::string name_;
  RemovedTree removed_;
  std::uint64_t entries_ = 0;
  int patience_ = 0;             // how often a directory may still turn out not to be empty
  std::vector<Identity> above_;  // directories on the way that were closed, outermost first
  std::deque<Level> open_;       // those below them, outermost first
};

}  // namespace ftpd
