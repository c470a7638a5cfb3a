// Changes of open files as events: inotify(7), one descriptor for a loop.
#pragma once

#include <cstddef>
#include <cstdint>
#include <unordered_map>
#include <vector>

#include "base/callback.h"
#include "base/unique_fd.h"
#include "reactor/reactor.h"

namespace ftpd {

class FileWatch;

/// What the FileWatches of one loop share. Its descriptor is made with the first of them, and kept.
class FileWatcher {
 public:
  explicit FileWatcher(Reactor& reactor) : reactor_(reactor) {}
  ~FileWatcher();
  FileWatcher(const FileWatcher&) = delete;
  FileWatcher& operator=(const FileWatcher&) = delete;

  /// Files that the kernel watches for us; several FileWatches of one file count once.
  [[nodiscard]] std::size_t files() const { return watched_.size(); }

 private:
  friend class FileWatch;
  /// As inotify names a file that it watches; one file has one, however often it is added.
  using WatchId = int;

  [[nodiscard]] bool open();
  void on_ready(std::uint32_t events);
  void note(WatchId id, std::uint32_t mask);
  void note_all();
  void note(FileWatch& watch);
  void forget(WatchId id);
  void call_noted();

  Reactor& reactor_;
  UniqueFd inotify_;
  Watch watch_;
  std::unordered_map<WatchId, std::vector<FileWatch*>> watched_;
  std::vector<FileWatch*> noted_;  // to be called; null where one was stopped meanwhile
};

/// Calls when an open regular file was written to or truncated, when its attributes change (the number
/// of its names is one) or when it is renamed. What is watched is the file that is open, whatever its
/// name leads to by then. Changes that come together are one call.
///
/// Not everything is told: neither what happens on another machine of a network file system, nor that a
/// directory above was renamed. And a system has only so many watches: where none is to be had, start()
/// fails silently. So look at the file from time to time all the same.
///
/// Borrows what it calls, and the FileWatcher. A handler may start, stop or destroy any FileWatch.
class FileWatch {
 public:
  using Handler = Callback<void()>;

  FileWatch() = default;
  ~FileWatch() { stop(); }
  FileWatch(const FileWatch&) = delete;
  FileWatch& operator=(const FileWatch&) = delete;

  /// `fd` is not needed once this returns. One already started is stopped first.
  void start(FileWatcher& watcher, int fd, Handler handler);

  /// No call after this returns. Idempotent.
  void stop();

  /// Does the kernel tell?
  [[nodiscard]] bool started() const { return id_ >= 0; }

 private:
  friend class FileWatcher;
  static constexpr std::size_t none = SIZE_MAX;

  FileWatcher* watcher_ = nullptr;
  Handler handler_;
  FileWatcher::WatchId id_ = -1;
  std::size_t index_ = 0;     // in the list of its file
  std::size_t noted_ = none;  // in the list of those to be called
};

}  // namespace ftpd
