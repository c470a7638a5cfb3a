// Watches of open files: who shares which, and who is called for which event.
#include "reactor/file_watch.h"

#include <fmt/format.h>
#include <sys/inotify.h>

#include <array>
#include <cassert>
#include <cstring>

#include "base/sys.h"

namespace ftpd {
namespace {

// A name that is removed is a change of attributes: the file itself goes with its last descriptor only.
constexpr std::uint32_t changes = IN_MODIFY | IN_ATTRIB | IN_MOVE_SELF | IN_DELETE_SELF;

}  // namespace

FileWatcher::~FileWatcher() { assert(watched_.empty() && "a file's watch outlives its watcher"); }

bool FileWatcher::open() {
  if (inotify_) return true;
  UniqueFd inotify(sys::inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
  if (!inotify) return false;
  const auto watched =
      watch_.start(reactor_, inotify.get(), EPOLLIN, Watch::Handler::to<&FileWatcher::on_ready>(*this));
  if (!watched) return false;
  inotify_ = std::move(inotify);
  return true;
}

void FileWatcher::on_ready(std::uint32_t /*events*/) {
  alignas(inotify_event) std::array<char, 4096> bytes;
  const ssize_t size = sys::read(inotify_.get(), bytes.data(), bytes.size());
  if (size <= 0) return;
  // What did not fit comes with the next turn. First note, then call: a file that changed often in the
  // meantime is one call, and what a handler stops or starts disturbs nothing.
  for (std::size_t at = 0; at < static_cast<std::size_t>(size);) {
    inotify_event event;
    std::memcpy(&event, bytes.data() + at, sizeof event);
    at += sizeof event + event.len;
    if ((event.mask & IN_Q_OVERFLOW) != 0) {
      note_all();
    } else {
      note(event.wd, event.mask);
    }
  }
  call_noted();
}

void FileWatcher::note(WatchId id, std::uint32_t mask) {
  const auto found = watched_.find(id);
  if (found == watched_.end()) return;  // stopped since; the kernel does not use a number again soon
  for (FileWatch* const watch : found->second) note(*watch);
  if ((mask & IN_IGNORED) != 0) forget(id);
}

void FileWatcher::note_all() {
  for (const auto& [id, watches] : watched_) {
    for (FileWatch* const watch : watches) note(*watch);
  }
}

void FileWatcher::note(FileWatch& watch) {
  if (watch.noted_ != FileWatch::none) return;
  watch.noted_ = noted_.size();
  noted_.push_back(&watch);
}

/// The kernel has taken the watch back, as it does when a file system goes away.
void FileWatcher::forget(WatchId id) {
  const auto found = watched_.find(id);
  for (FileWatch* const watch : found->second) watch->id_ = -1;
  watched_.erase(found);
}

void FileWatcher::call_noted() {
  for (std::size_t i = 0; i < noted_.size(); ++i) {
    FileWatch* const watch = noted_[i];
    if (watch == nullptr) continue;
    watch->noted_ = FileWatch::none;
    noted_[i] = nullptr;
    const auto handler = watch->handler_;  // which may destroy its watch
    handler();
  }
  noted_.clear();
}

// --- one watch ---

void FileWatch::start(FileWatcher& watcher, int fd, Handler handler) {
  stop();
  if (!watcher.open()) return;
  // The link in /proc leads to the open file itself, so no name can be changed in between.
  const std::string path = fmt::format("/proc/self/fd/{}", fd);
  const int id = sys::inotify_add_watch(watcher.inotify_.get(), path.c_str(), changes);
  if (id < 0) return;
  watcher_ = &watcher;
  handler_ = handler;
  id_ = id;
  std::vector<FileWatch*>& sharing = watcher.watched_[id];
  index_ = sharing.size();
  sharing.push_back(this);
}

void FileWatch::stop() {
  if (watcher_ == nullptr) return;
  FileWatcher& watcher = *std::exchange(watcher_, nullptr);
  if (noted_ != none) {
    watcher.noted_[noted_] = nullptr;
    noted_ = none;
  }
  const auto found = watcher.watched_.find(std::exchange(id_, -1));
  if (found == watcher.watched_.end()) return;
  std::vector<FileWatch*>& sharing = found->second;
  sharing[index_] = sharing.back();
  sharing[index_]->index_ = index_;
  sharing.pop_back();
  if (!sharing.empty()) return;
  // It fails only where the kernel has taken the watch back already.
  [[maybe_unused]] const int removed = sys::inotify_rm_watch(watcher.inotify_.get(), found->first);
  watcher.watched_.erase(found);
}

}  // namespace ftpd
