// Watches of open files: what they hear of, who shares one, what may be destroyed when.
#include "reactor/file_watch.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/sys.h"

using namespace ftpd;

namespace {

class Directory {
 public:
  Directory() {
    const char* const set = std::getenv("TMPDIR");
    path_ = std::string(set != nullptr ? set : "/tmp") + "/ftpd-reactor-XXXXXX";
    REQUIRE(::mkdtemp(path_.data()) != nullptr);
  }
  ~Directory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  Directory(const Directory&) = delete;
  Directory& operator=(const Directory&) = delete;

  [[nodiscard]] std::string at(const std::string& name) const { return path_ + "/" + name; }
  /// Made empty, and opened for reading.
  [[nodiscard]] UniqueFd make(const std::string& name) const {
    append(name, "");
    return UniqueFd(::open(at(name).c_str(), O_RDONLY | O_CLOEXEC));
  }
  void append(const std::string& name, std::string_view text) const {
    std::ofstream(at(name), std::ios::app) << text;
  }

 private:
  std::string path_;
};

struct Loop {
  Loop() {
    auto made = Reactor::create();
    REQUIRE(made);
    reactor = std::move(*made);
    watcher = std::make_unique<FileWatcher>(*reactor);
  }
  /// One turn without waiting.
  void turn() const { REQUIRE(reactor->turn(reactor->now())); }

  std::unique_ptr<Reactor> reactor;
  std::unique_ptr<FileWatcher> watcher;
};

struct Listening {
  Listening(const Loop& loop, const UniqueFd& file) { start(loop, file); }
  void start(const Loop& loop, const UniqueFd& file) {
    watch.start(*loop.watcher, file.get(), FileWatch::Handler::to<&Listening::on_change>(*this));
  }
  void on_change() {
    ++count;
    if (then) then();
  }
  int count = 0;
  std::function<void()> then;
  FileWatch watch;
};

/// How often it is called in one turn.
int heard(const Loop& loop, Listening& listening) {
  listening.count = 0;
  loop.turn();
  return listening.count;
}

int refuse_inotify_init1(const char* call) { return std::string_view(call) == "inotify_init1" ? EMFILE : 0; }
int refuse_inotify_add_watch(const char* call) {
  return std::string_view(call) == "inotify_add_watch" ? ENOSPC : 0;
}
int refuse_epoll_ctl(const char* call) { return std::string_view(call) == "epoll_ctl" ? ENOMEM : 0; }

}  // namespace

TEST_CASE("a watched file tells of writing, truncation, renaming, removal and a replacement") {
  const Directory directory;
  const Loop loop;
  const UniqueFd file = directory.make("f");
  Listening listening(loop, file);
  CHECK(listening.watch.started());
  CHECK(heard(loop, listening) == 0);
  directory.append("f", "a");
  CHECK(heard(loop, listening) == 1);
  REQUIRE(::truncate(directory.at("f").c_str(), 0) == 0);
  CHECK(heard(loop, listening) == 1);
  std::filesystem::rename(directory.at("f"), directory.at("g"));
  CHECK(heard(loop, listening) == 1);
  directory.append("h", "another");
  CHECK(heard(loop, listening) == 0);
  std::filesystem::rename(directory.at("h"), directory.at("g"));
  CHECK(heard(loop, listening) == 1);
  CHECK(heard(loop, listening) == 0);

  const UniqueFd removed = directory.make("r");
  listening.start(loop, removed);
  std::filesystem::remove(directory.at("r"));
  CHECK(heard(loop, listening) == 1);
}

TEST_CASE("what is watched is the open file, not what its name leads to by then") {
  const Directory directory;
  const Loop loop;
  const UniqueFd file = directory.make("f");
  std::filesystem::rename(directory.at("f"), directory.at("moved"));
  directory.append("f", "");
  Listening listening(loop, file);
  directory.append("f", "a");
  CHECK(heard(loop, listening) == 0);
  directory.append("moved", "a");
  CHECK(heard(loop, listening) == 1);
}

TEST_CASE("a watched file may be closed by whoever opened it") {
  const Directory directory;
  const Loop loop;
  UniqueFd file = directory.make("f");
  Listening listening(loop, file);
  file.reset();
  directory.append("f", "a");
  CHECK(heard(loop, listening) == 1);
  std::filesystem::remove(directory.at("f"));  // and now it is gone altogether: the kernel's watch with it
  CHECK(heard(loop, listening) == 1);
  CHECK_FALSE(listening.watch.started());
  CHECK(loop.watcher->files() == 0);
}

TEST_CASE("changes that come together are one call") {
  const Directory directory;
  const Loop loop;
  const UniqueFd file = directory.make("f");
  const UniqueFd other = directory.make("other");
  Listening listening(loop, file);
  Listening beside(loop, other);
  for (int i = 0; i < 20; ++i) {
    directory.append("f", "a");
    directory.append("other", "a");  // in between, or the kernel would join them
  }
  CHECK(heard(loop, listening) == 1);
  CHECK(beside.count == 1);
}

TEST_CASE("watches of one file share the kernel's, until the last of them stops") {
  const Directory directory;
  const Loop loop;
  const UniqueFd file = directory.make("f");
  const UniqueFd again(::open(directory.at("f").c_str(), O_RDONLY | O_CLOEXEC));
  const UniqueFd other = directory.make("other");
  auto first = std::make_unique<Listening>(loop, file);
  Listening second(loop, again);
  Listening third(loop, file);
  Listening beside(loop, other);
  CHECK(loop.watcher->files() == 2);
  directory.append("f", "a");
  CHECK(heard(loop, *first) == 1);
  CHECK(second.count == 1);
  CHECK(third.count == 1);
  CHECK(beside.count == 0);

  first.reset();
  second.count = 0;
  directory.append("f", "a");
  CHECK(heard(loop, third) == 1);
  CHECK(second.count == 1);

  third.watch.stop();
  third.watch.stop();
  directory.append("f", "a");
  CHECK(heard(loop, second) == 1);
  CHECK(third.count == 1);
  CHECK(loop.watcher->files() == 2);
  second.watch.stop();
  CHECK(loop.watcher->files() == 1);
  directory.append("f", "a");
  CHECK(heard(loop, second) == 0);

  second.start(loop, file);
  directory.append("f", "a");
  CHECK(heard(loop, second) == 1);
}

TEST_CASE("a handler may destroy its own watch and others that are still to be called") {
  const Directory directory;
  const Loop loop;
  const UniqueFd file = directory.make("f");
  auto first = std::make_unique<Listening>(loop, file);
  auto second = std::make_unique<Listening>(loop, file);
  Listening third(loop, file);
  int first_called = 0;
  first->then = [&] {
    ++first_called;
    second.reset();
    // Its own watch, but not the closure that runs.
    first->watch.stop();
  };
  second->then = [] { FAIL("destroyed, and called all the same"); };
  directory.append("f", "a");
  CHECK(heard(loop, third) == 1);
  CHECK(first_called == 1);
  directory.append("f", "a");
  CHECK(heard(loop, third) == 1);
  CHECK(first_called == 1);

  // The object that is called may go as a whole.
  struct Passing {
    void on_change() {
      ++*count;
      owner->reset();
    }
    FileWatch watch;
    int* count = nullptr;
    std::unique_ptr<Passing>* owner = nullptr;
  };
  int count = 0;
  auto passing = std::make_unique<Passing>();
  passing->count = &count;
  passing->owner = &passing;
  passing->watch.start(*loop.watcher, file.get(), FileWatch::Handler::to<&Passing::on_change>(*passing));
  directory.append("f", "a");
  loop.turn();
  CHECK(count == 1);
  CHECK(passing == nullptr);
}

TEST_CASE("a handler may start watches, which are not called for what came before") {
  const Directory directory;
  const Loop loop;
  const UniqueFd file = directory.make("f");
  const UniqueFd other = directory.make("other");
  Listening listening(loop, file);
  std::unique_ptr<Listening> late;
  listening.then = [&] {
    if (late == nullptr) late = std::make_unique<Listening>(loop, file);
    listening.start(loop, other);
  };
  directory.append("f", "a");
  CHECK(heard(loop, listening) == 1);
  REQUIRE(late != nullptr);
  CHECK(late->count == 0);
  directory.append("f", "a");
  CHECK(heard(loop, *late) == 1);
  CHECK(listening.count == 1);
  directory.append("other", "a");
  CHECK(heard(loop, listening) == 1);
}

TEST_CASE("where the kernel's queue overflows, everybody is called") {
  const Directory directory;
  const Loop loop;
  int queue = 0;
  std::ifstream("/proc/sys/fs/inotify/max_queued_events") >> queue;
  if (queue <= 0 || queue > 100'000) return;  // a system where that would take too long
  const UniqueFd file = directory.make("f");
  const UniqueFd other = directory.make("other");
  const UniqueFd quiet = directory.make("quiet");
  Listening listening(loop, file);
  Listening beside(loop, other);
  Listening silent(loop, quiet);
  const UniqueFd write_file(::open(directory.at("f").c_str(), O_WRONLY | O_CLOEXEC));
  const UniqueFd write_other(::open(directory.at("other").c_str(), O_WRONLY | O_CLOEXEC));
  for (int i = 0; i <= queue; ++i) {
    REQUIRE(::write(i % 2 == 0 ? write_file.get() : write_other.get(), "a", 1) == 1);
  }
  for (int turns = 0; turns < queue && silent.count == 0; ++turns) loop.turn();
  CHECK(silent.count == 1);
  CHECK(listening.count > 1);
  silent.count = 0;
  loop.turn();
  CHECK(silent.count == 0);
}

TEST_CASE("without a descriptor or a watch nothing is told, nothing fails, and the next one tries again") {
  const Directory directory;
  const UniqueFd file = directory.make("f");
  for (const auto refuse : {refuse_inotify_init1, refuse_epoll_ctl, refuse_inotify_add_watch}) {
    const Loop loop;
    sys::set_fault_hook(refuse);
    Listening listening(loop, file);
    sys::set_fault_hook(nullptr);
    CHECK_FALSE(listening.watch.started());
    CHECK(loop.watcher->files() == 0);
    directory.append("f", "a");
    CHECK(heard(loop, listening) == 0);
    listening.watch.stop();
    listening.start(loop, file);
    CHECK(listening.watch.started());
    directory.append("f", "a");
    CHECK(heard(loop, listening) == 1);
    listening.watch.stop();
  }
}
