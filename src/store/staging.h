// Where an upload lives until it has a name: root/.ftpd/staging-HEX/, one directory a living process.
//
// A staging directory is locked (flock(2)) by the process that made it. Whoever can take the lock
// knows that the maker is dead and may remove it, so daemons may share a root.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>

#include "base/error.h"
#include "base/unique_fd.h"

namespace ftpd {

/// What a commit does with a name that is taken.
enum class Taken : std::uint8_t { replace, refuse };

struct NameIn {
  int directory;
  const char* name;
};

/// Moves a file to its name, in one step. The errno on failure, else 0.
[[nodiscard]] int move_file(NameIn from, NameIn to, Taken taken);

/// The locked directory. Removed when the last who needs it is gone, if it is empty then.
class StagingDirectory {
 public:
  /// Makes, opens and locks a new one below the root.
  [[nodiscard]] static Result<std::shared_ptr<StagingDirectory>> make(int root);
  ~StagingDirectory();
  StagingDirectory(const StagingDirectory&) = delete;
  StagingDirectory& operator=(const StagingDirectory&) = delete;

  [[nodiscard]] int fd() const { return directory_.get(); }
  [[nodiscard]] std::uint64_t next_number() { return next_.fetch_add(1, std::memory_order_relaxed); }

 private:
  StagingDirectory(UniqueFd home, UniqueFd directory, std::string name);

  UniqueFd home_;  // root/.ftpd
  UniqueFd directory_;
  std::string name_;
  std::atomic<std::uint64_t> next_{0};
};

/// A file that nobody sees yet. Gone when it is destroyed unpublished.
class StagedFile {
 public:
  [[nodiscard]] static Result<StagedFile> make(std::shared_ptr<StagingDirectory> directory);
  StagedFile(StagedFile&& other) noexcept = default;
  StagedFile& operator=(StagedFile&& other) noexcept;
  ~StagedFile() { discard(); }

  [[nodiscard]] int fd() const { return file_.get(); }

  /// See move_file.
  [[nodiscard]] int publish(int directory, const char* name, Taken taken);

 private:
  StagedFile(std::shared_ptr<StagingDirectory> directory, std::string name, UniqueFd file);
  void discard();

  std::shared_ptr<StagingDirectory> directory_;  // empty once published, or moved from
  std::string name_;
  UniqueFd file_;
};

/// The staging of one Store. Thread-safe. Borrows the root's descriptor.
class Staging {
 public:
  explicit Staging(int root) : root_(root) {}

  /// A new staged file, mode 0600. Makes the directory where there is none, or where somebody removed it.
  [[nodiscard]] Result<StagedFile> make_file();

  /// Makes the directory ahead of the first file.
  [[nodiscard]] Result<void> prepare();

  /// The directory itself; made where there is none.
  [[nodiscard]] Result<std::shared_ptr<StagingDirectory>> directory();

  /// Removes the staging directories that no living process holds, with all that is in them.
  void remove_dead() const;

 private:
  void forget(const std::shared_ptr<StagingDirectory>& directory);

  int root_;
  std::mutex mutex_;
  std::shared_ptr<StagingDirectory> directory_;  // under mutex_
};

}  // namespace ftpd
