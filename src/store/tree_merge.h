// A staged tree into a directory that is there: first looked at, then moved, name by name.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/error.h"
#include "store/staged_tree.h"

namespace ftpd {

/// Directories that are there take what comes into them and keep their modes and times; those that are
/// not are moved with all that is in them, by one rename. A file replaces a file. Anything else in the way
/// is an Error: Reason::is_directory, Reason::not_directory, Reason::denied (a link, a special file), and
/// Reason::exists for a file where `taken` refuses.
class TreeMerge {
 public:
  /// Borrows all; `path` is what `target` is called below its root, for people.
  TreeMerge(StagedTree& tree, int target, const RelPath& path, Taken taken)
      : tree_(tree), target_(target), path_(path), taken_(taken) {}

  /// Whether everything may be moved, before anything is.
  [[nodiscard]] Result<void> check();

  /// Moves. Looks at every name again; an Error leaves what has been moved so far.
  [[nodiscard]] Result<void> move();

  /// Bytes of the files that were replaced, and had no other name.
  [[nodiscard]] std::uint64_t replaced() const { return replaced_; }
  /// Into a directory below the target, not only into itself.
  [[nodiscard]] bool moved_below() const { return moved_below_; }

 private:
  struct Pair;  // a directory of the tree, and the one that it goes into
  using Step = Result<void> (TreeMerge::*)(const Pair& pair, const char* name);

  /// Takes the step for every name in every directory that is on both sides.
  [[nodiscard]] Result<void> walk(Step step);
  [[nodiscard]] Result<void> walk_directory(const std::string& directory, Step step);
  [[nodiscard]] Result<void> look_at(const Pair& pair, const char* name);
  [[nodiscard]] Result<void> move_name(const Pair& pair, const char* name);
  [[nodiscard]] Result<void> move_directory(const Pair& pair, const char* name);
  [[nodiscard]] Result<void> move_file(const Pair& pair, const char* name);

  void note_move_into(const Pair& pair);

  enum class InTheWay : std::uint8_t { nothing, directory, file };
  struct Found {
    InTheWay what = InTheWay::nothing;
    std::uint64_t size = 0;  // bytes that are gone with a file
  };
  /// What has the name in the target, where what comes may take it.
  [[nodiscard]] Result<Found> find(const Pair& pair, const char* name, bool comes_directory) const;
  [[nodiscard]] std::string shown(const std::string& name) const;

  StagedTree& tree_;
  int target_;
  const RelPath& path_;
  Taken taken_;
  std::vector<std::string> pending_;  // directories on both sides that are still to be visited
  std::uint64_t replaced_ = 0;
  bool moved_below_ = false;
};

/// Moves a directory to a name that nothing has, in one step. The errno on failure, else 0: EEXIST
/// where something has it.
[[nodiscard]] int move_directory_to(NameIn from, NameIn to);

}  // namespace ftpd
