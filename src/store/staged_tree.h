// A directory that nobody sees yet: root/.ftpd/staging-HEX/tree.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <ctime>
#include <map>
#include <memory>
#include <string>

#include "base/error.h"
#include "base/unique_fd.h"
#include "store/destination.h"
#include "store/staging.h"

namespace ftpd {

struct DirectoryAttributes {
  mode_t mode = 0755;  // permission bits
  timespec mtime{};
};

/// Names are relative to the tree, checked before (RelPath). Gone, with all that is in it, when it is
/// destroyed: on a thread that may block.
class StagedTree {
 public:
  /// In a staging directory of its own, which is locked like any other.
  [[nodiscard]] static Result<StagedTree> make(int root);
  StagedTree(StagedTree&&) noexcept = default;
  StagedTree& operator=(StagedTree&&) = delete;
  ~StagedTree();

  /// A directory, and those on the way. One that is there gets the new attributes, a file that is there
  /// gives way. Attributes are set by seal(); until then everything can be written into it.
  [[nodiscard]] Result<void> add_directory(const std::string& name, const DirectoryAttributes& attributes);
  /// Those of the tree itself.
  void set_attributes(const DirectoryAttributes& attributes) { attributes_[""] = attributes; }

  /// A new file to write to, and the directories on the way. A file that is there gives way; a directory
  /// only where it is empty, else Reason::is_directory.
  [[nodiscard]] Result<UniqueFd> add_file(const std::string& name, mode_t mode);

  /// What add_file opened is complete.
  void count(std::uint64_t bytes) { bytes_ += bytes; }

  /// Sets times and modes, all but what late_modes() sets. With Flush::yes everything is on stable storage
  /// then.
  [[nodiscard]] Result<void> seal(Flush flush);

  /// Modes that forbid their owner to move what is in a directory: after the move, where the tree is then
  /// found as `top`.
  [[nodiscard]] Result<void> set_late_modes(int top);
  [[nodiscard]] bool has_late_modes() const;

  /// A directory of it will not be moved: one of that name is there and keeps its mode and time.
  void forget_attributes(const std::string& name) { attributes_.erase(name); }

  /// It has been moved as a whole.
  void moved() { staging_.reset(); }
  [[nodiscard]] bool is_moved() const { return staging_ == nullptr; }

  [[nodiscard]] int fd() const { return top_.get(); }
  [[nodiscard]] NameIn place() const { return {staging_->fd(), own_name}; }

  [[nodiscard]] std::uint64_t files() const { return files_; }
  [[nodiscard]] std::uint64_t directories() const { return directories_; }
  [[nodiscard]] std::uint64_t bytes() const { return bytes_ - replaced_; }
  /// Bytes of files that gave way to others in the tree.
  [[nodiscard]] std::uint64_t replaced() const { return replaced_; }

 private:
  static constexpr const char* own_name = "tree";
  static constexpr std::size_t most_directory_names = 16U << 20U;  // bytes of memory

  explicit StagedTree(std::shared_ptr<StagingDirectory> staging) : staging_(std::move(staging)) {}

  /// The descriptor of the directory that holds `name`; borrowed until the next call.
  [[nodiscard]] Result<int> holder_of(const std::string& name);
  [[nodiscard]] Result<void> make_directories(const std::string& path);
  [[nodiscard]] Result<void> make_directory(int holder, const std::string& name);
  /// Removes what has the name, where it may give way.
  [[nodiscard]] Result<void> make_way(int holder, const std::string& name);
  [[nodiscard]] Result<void> charge(const std::string& name);

  std::shared_ptr<StagingDirectory> staging_;  // empty once moved, or moved from
  UniqueFd top_;
  std::string open_path_;  // of open_directory_; most members lie where the one before lies
  UniqueFd open_directory_;
  std::map<std::string, DirectoryAttributes> attributes_;  // by name; "" for the tree itself
  std::size_t directory_names_ = 0;                        // bytes
  std::uint64_t files_ = 0;
  std::uint64_t directories_ = 0;
  std::uint64_t bytes_ = 0;
  std::uint64_t replaced_ = 0;
};

}  // namespace ftpd
