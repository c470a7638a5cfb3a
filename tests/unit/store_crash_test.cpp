// The order of a commit: whatever moment a crash picks, a name shows the old file or the new one, whole;
// and what was acknowledged is on the disk.
//
// The C library's fsync, renameat2, write and splice are replaced in this program: they do what they do, note
// it, and write less than they were asked when a test wants that.
#include <sys/syscall.h>
#include <sys/wait.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <functional>
#include <mutex>
#include <set>

#include "base/unique_fd.h"
#include "unit/store_support.h"

using namespace ftpd;
using namespace ftpd::test;

namespace {

/// What happened, in the order in which it was over.
struct Event {
  enum class Kind { flushed, renamed, acknowledged } kind = Kind::flushed;
  ino_t inode = 0;      // what was flushed, or moved
  ino_t directory = 0;  // where it was moved to
  timespec changed{};   // of a file: its last change before that
  std::string name;
};

struct Journal {
  std::mutex mutex;
  std::vector<Event> events;
  std::atomic<bool> noting{false};
  std::atomic<bool> writing_short{false};

  void note(Event event) {
    const std::lock_guard lock(mutex);
    events.push_back(std::move(event));
  }
};
Journal& journal() {
  static Journal the_journal;
  return the_journal;
}

/// Half of it, at least one byte.
std::size_t shortened(std::size_t size) {
  return journal().writing_short.load() && size > 1 ? (size + 1) / 2 : size;
}

}  // namespace

extern "C" int fsync(int fd) {
  struct stat status{};
  const bool known =
      journal().noting.load() && ::fstat(fd, &status) == 0;  // before: what changes during it is not in it
  const int result = static_cast<int>(::syscall(SYS_fsync, fd));
  if (known && result == 0) journal().note({Event::Kind::flushed, status.st_ino, 0, status.st_ctim, {}});
  return result;
}

extern "C" int renameat2(int from, const char* old_name, int to, const char* new_name,
                         unsigned flags) noexcept {
  struct stat moved{};
  struct stat directory{};
  const bool known = journal().noting.load() && ::fstatat(from, old_name, &moved, AT_SYMLINK_NOFOLLOW) == 0 &&
                     ::fstat(to, &directory) == 0;
  const int result = static_cast<int>(::syscall(SYS_renameat2, from, old_name, to, new_name, flags));
  if (known && result == 0) {
    journal().note({Event::Kind::renamed, moved.st_ino, directory.st_ino, moved.st_ctim, new_name});
  }
  return result;
}

extern "C" ssize_t write(int fd, const void* data, size_t size) {
  return ::syscall(SYS_write, fd, data, shortened(size));
}

extern "C" ssize_t splice(int from, off64_t* from_offset, int to, off64_t* to_offset, size_t size,
                          unsigned flags) {
  return ::syscall(SYS_splice, from, from_offset, to, to_offset, shortened(size), flags);
}

namespace {

/// Notes what happens while it lives.
class Noting {
 public:
  Noting() {
    journal().events.clear();
    journal().noting = true;
  }
  ~Noting() { journal().noting = false; }
  Noting(const Noting&) = delete;
  Noting& operator=(const Noting&) = delete;
  [[nodiscard]] static std::vector<Event> events() {
    const std::lock_guard lock(journal().mutex);
    return journal().events;
  }
};

void acknowledge(std::string name) { journal().note({Event::Kind::acknowledged, 0, 0, {}, std::move(name)}); }

bool same(const timespec& a, const timespec& b) { return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec; }

/// Replays what happened up to each moment, and asks what a crash there would leave. A rename may be on the
/// disk as soon as it was made, and is for certain when its directory was flushed behind it; a file is for
/// certain when it was flushed behind its last change. What is wrong, in words; nothing where all is well.
class Replay {
 public:
  [[nodiscard]] static std::string problems(const std::vector<Event>& events) {
    std::string all;
    for (std::size_t cut = 1; cut <= events.size(); ++cut) {
      Replay replay;
      for (std::size_t index = 0; index < cut; ++index) replay.step(index, events[index]);
      all += replay.problem_;  // what the crash at this cut shows
      if (!all.empty()) return all;
    }
    return all;
  }

 private:
  void step(std::size_t now, const Event& event) {
    switch (event.kind) {
      case Event::Kind::flushed: flushed_[event.inode] = {now, event.changed}; break;
      case Event::Kind::renamed: {
        const auto file = flushed_.find(event.inode);
        if (file == flushed_.end()) {
          problem_ = event.name + " appears before it is flushed";
        } else if (!same(file->second.changed, event.changed)) {
          problem_ = event.name + " was changed between its flush and its rename";
        }
        renamed_[event.name] = {now, event.directory};
        break;
      }
      case Event::Kind::acknowledged: {
        const auto rename = renamed_.find(event.name);
        const auto flush =
            rename == renamed_.end() ? flushed_.end() : flushed_.find(rename->second.directory);
        if (flush == flushed_.end() || flush->second.when < rename->second.when) {
          problem_ = event.name + " is acknowledged before its directory is flushed";
        }
        break;
      }
    }
  }

  struct Flushed {
    std::size_t when = 0;
    timespec changed{};
  };
  struct Renamed {
    std::size_t when = 0;
    ino_t directory = 0;
  };
  std::map<ino_t, Flushed> flushed_;
  std::map<std::string, Renamed> renamed_;
  std::string problem_;
};

const std::string new_content(70000, 'n');
const UploadKey key{"lab", "one"};

bool in_steps(Store& store) {
  auto upload = store.begin_upload(sized("f", new_content.size()));
  if (!upload) return false;
  const std::string_view content = new_content;
  return upload->write(content.substr(0, 100)) && upload->write(content.substr(100)) && upload->commit();
}
bool at_once(Store& store) { return store.put_small(request_for("f"), new_content).has_value(); }
bool with_parents(Store& store) {
  UploadRequest request = request_for("a/b/f");
  request.parents = true;
  return store.put_small(std::move(request), new_content).has_value();
}
bool in_a_batch(Store& store) {
  Later later(store.shared_from_this(), 1);
  for (const char* name : {"f", "d/g", "d/h"}) later.put(request_for(name), new_content);
  const auto results = later.wait();
  return std::ranges::all_of(results, [](const auto& result) { return result.has_value(); });
}
bool kept(Store& store) {
  UploadRequest request = sized("f", new_content.size());
  request.held = key;
  auto upload = store.begin_upload(std::move(request));
  if (!upload) return false;
  const std::string_view content = new_content;
  return upload->write(content.substr(0, 30000)) && upload->write(content.substr(30000)) && upload->commit();
}
bool resumed(Store& store) {
  UploadRequest request = sized("f", new_content.size());
  request.held = key;
  {
    auto upload = store.begin_upload(request);
    if (!upload || !upload->write(std::string_view(new_content).substr(0, 30000))) return false;
  }
  request.offset = 30000;
  auto upload = store.begin_upload(std::move(request));
  return upload && upload->write(std::string_view(new_content).substr(30000)) && upload->commit();
}

struct Way {
  const char* name;
  bool (*put)(Store&);
};
constexpr Way ways[] = {{"in steps", in_steps},     {"at once", at_once}, {"with parents", with_parents},
                        {"in a batch", in_a_batch}, {"held", kept},       {"resumed", resumed}};

void prepare(const Place& place) {
  ::mkdir(place.root.c_str(), 0755);
  ::mkdir(place.at("d").c_str(), 0755);
  write_file(place.at("f"), "old");
}

/// The `last` call from now on is never made: the process is gone.
std::atomic<unsigned> calls_left{0};
void die_at(unsigned last) {
  calls_left = last;
  sys::set_fault_hook([](const char*) {
    if (--calls_left == 0) ::_exit(9);
    return 0;
  });
}

/// A process of its own puts, and is gone at its call number `last`. False: it was done before.
bool dies_at(const Place& place, const Way& way, unsigned last) {
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    const auto store = Store::open(place.root, {});
    if (!store) ::_exit(1);
    die_at(last);
    const bool done = way.put(**store);
    sys::set_fault_hook(nullptr);
    ::_exit(done ? 0 : 2);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  REQUIRE(WIFEXITED(status));
  const bool expected = WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == 9;
  REQUIRE(expected);
  return WEXITSTATUS(status) == 9;
}

void check_what_is_left(const Place& place) {
  const auto store = place.open();
  for (const char* name : {"f", "d/g", "d/h", "a/b/f"}) {
    CAPTURE(std::string(name));
    const std::string now = read_file(place.at(name));
    const bool whole = now == new_content || (name == std::string_view("f") ? now == "old" : now.empty());
    CHECK(whole);
    CHECK(std::filesystem::exists(place.at(name)) == !now.empty());
  }
  const auto held = store->held(key);
  if (held) {
    const std::string bytes = read_fd(held->file->get());
    CHECK(bytes.size() == held->size);
    CHECK(bytes == new_content.substr(0, bytes.size()));
    UploadRequest request = sized("f", new_content.size());
    request.held = key;
    request.offset = held->size;
    auto upload = store->begin_upload(std::move(request));
    REQUIRE(upload.has_value());
    CHECK(upload->write(std::string_view(new_content).substr(bytes.size())).has_value());
    CHECK(upload->commit().has_value());
    CHECK(read_file(place.at("f")) == new_content);
  } else {
    CHECK(held.error().reason == Reason::not_found);
  }
  CHECK(staged_files(place) == 0);
  CHECK(staging_directories(place) == 1);
  CHECK(put(*store, request_for("f"), "after").has_value());
}

}  // namespace

TEST_CASE(
    "whichever call is a process's last, a name shows the old file or the new one and no debris stays") {
  for (const Way& way : ways) {
    CAPTURE(std::string(way.name));
    for (unsigned last = 1;; ++last) {
      CAPTURE(last);
      const Place place(way.put == in_a_batch ? Place::temporary_directory() : Place::quick_directory());
      prepare(place);
      const bool died = dies_at(place, way, last);
      check_what_is_left(place);
      if (!died) {
        CHECK(last > 7);
        break;
      }
    }
  }
}

TEST_CASE("no name appears before its file is flushed, nothing is acknowledged before the directory is") {
  for (const Way& way : ways) {
    if (way.put == in_a_batch) continue;
    CAPTURE(std::string(way.name));
    const Place place;
    prepare(place);
    const auto store = place.open();
    const Noting noting;
    REQUIRE(way.put(*store));
    acknowledge("f");
    const auto events = Noting::events();
    CHECK(events.size() >= 4);
    CHECK(Replay::problems(events) == "");
  }
}

TEST_CASE("a batch keeps the order of a commit for each of its files") {
  const Place place;
  prepare(place);
  const auto store = place.open();
  Offload pool(3);
  const Noting noting;
  std::atomic<int> left{300};
  std::mutex mutex;
  std::condition_variable changed;
  for (int index = 0; index < 300; ++index) {
    const std::string name = std::to_string(index);
    store->put_small_later(
        pool, {request_for((index % 3 == 0 ? "d/" : "") + name), "x", [&, name](Result<Stored> stored) {
                 CHECK(stored.has_value());
                 acknowledge(name);
                 const std::lock_guard lock(mutex);
                 --left;
                 changed.notify_one();
               }});
  }
  std::unique_lock lock(mutex);
  changed.wait(lock, [&left] { return left == 0; });
  const auto events = Noting::events();
  CHECK(std::ranges::count(events, Event::Kind::renamed, &Event::kind) == 300);
  CHECK(Replay::problems(events) == "");
}

TEST_CASE("the replay finds a wrong order") {
  const Event file{Event::Kind::flushed, 7, 0, {1, 0}, {}};
  const Event rename{Event::Kind::renamed, 7, 1, {1, 0}, "f"};
  const Event directory{Event::Kind::flushed, 1, 0, {}, {}};
  const Event acknowledged{Event::Kind::acknowledged, 0, 0, {}, "f"};
  Event changed = rename;
  changed.changed = {2, 0};
  CHECK(Replay::problems({file, rename, directory, acknowledged}) == "");
  CHECK(Replay::problems({rename, file, directory, acknowledged}) == "f appears before it is flushed");
  CHECK(Replay::problems({file, changed, directory, acknowledged}) ==
        "f was changed between its flush and its rename");
  for (const auto& events :
       {std::vector{file, rename, acknowledged, directory},
        std::vector{file, directory, rename, acknowledged}, std::vector{file, acknowledged}}) {
    CHECK(Replay::problems(events) == "f is acknowledged before its directory is flushed");
  }
}

TEST_CASE("a disk that takes less at a time than it is given gets all in the end") {
  const Place place;
  prepare(place);
  const auto store = place.open();
  std::array<int, 2> ends{};
  REQUIRE(::pipe2(ends.data(), O_CLOEXEC) == 0);
  const UniqueFd from{ends[0]};
  const UniqueFd into{ends[1]};
  for (const bool hashing : {false, true}) {
    CAPTURE(hashing);
    REQUIRE(::write(into.get(), new_content.data(), 60000) == 60000);
    UploadRequest request = request_for("g");
    if (hashing) request.compute = DigestKinds(DigestKind::sha256);
    auto upload = store->begin_upload(std::move(request));
    REQUIRE(upload.has_value());
    journal().writing_short = true;
    const auto moved = upload->write_from_pipe(from.get(), 60000);
    const auto written = upload->write(std::string_view(new_content).substr(60000));
    journal().writing_short = false;
    REQUIRE(moved.has_value());
    CHECK(*moved == 60000);
    CHECK(written.has_value());
    const auto stored = upload->commit();
    REQUIRE(stored.has_value());
    CHECK(stored->size == new_content.size());
    if (hashing) CHECK(stored->digests.of(DigestKind::sha256) == digest_of(DigestKind::sha256, new_content));
    CHECK(read_file(place.at("g")) == new_content);
  }
  journal().writing_short = true;
  const bool all = std::ranges::all_of(ways, [&](const Way& way) { return way.put(*store); });
  journal().writing_short = false;
  CHECK(all);
  CHECK(read_file(place.at("f")) == new_content);
}
